"""The media type of a file: from its first bytes, then from its extension. What a client declares is not used.

The signatures are those of the WHATWG standard "MIME Sniffing" and, for containers, of ISO 14496-12 (`ftyp`).
"""

import re

HEAD_BYTES = 512  # of a file, for `media_type`
UNKNOWN = "application/octet-stream"

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"ID3", "audio/mpeg"),
    *((bytes([0xFF, byte]), "audio/mpeg") for byte in (0xFA, 0xFB, 0xF2, 0xF3)),  # frames without ID3
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"M4A ": "audio/mp4", b"qt  ": "video/quicktime", b"heic": "image/heic", b"heix": "image/heic"}
_BRANDS |= {b"avif": "image/avif", b"3gp4": "video/3gpp", b"3gp5": "video/3gpp"}
_ACTIVE_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x00]*<(?:!--|!doctype|\?xml|/?[a-z])", re.IGNORECASE)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\s", re.IGNORECASE)
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
_BY_EXTENSION = {  # documents, which are downloaded; what has a signature is not in it
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".ics": "text/calendar",
    ".json": "application/json",
    ".md": "text/markdown",
    ".odp": f"{_OPEN}presentation",
    ".ods": f"{_OPEN}spreadsheet",
    ".odt": f"{_OPEN}text",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": f"{_OFFICE}presentationml.presentation",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".vcf": "text/vcard",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".zip": "application/zip",
}
_INLINE = re.compile(r"(image|audio|video)/(?!svg)")


def media_type(head: bytes, extension: str) -> str:
    """`head`: the first `HEAD_BYTES`."""
    extension = extension.lower()
    found = _by_signature(head) or _by_container(head) or _by_text(head, extension)
    return found or _BY_EXTENSION.get(extension, UNKNOWN)


def _by_signature(head: bytes) -> str | None:
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _by_container(head: bytes) -> str | None:
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head else "audio/ogg"
    return _BRANDS.get(head[8:12], "video/mp4") if head[4:8] == b"ftyp" else None


def _by_text(head: bytes, extension: str) -> str | None:
    if not _ACTIVE_TEXT.match(head):
        return None
    if _SVG.search(head):
        return "image/svg+xml"
    return "application/xml" if _XML.match(head) or extension == ".xml" else "text/html"


def is_inline(kind: str) -> bool:
    """Whether a browser may show it on a page of this origin; everything else is downloaded."""
    return _INLINE.match(kind) is not None


def matches(kind: str, patterns: tuple[str, ...]) -> bool:
    """Patterns are `*/*`, `image/*` or a type."""
    main = kind.partition("/")[0]
    return any(pattern in {"*/*", f"{main}/*", kind} for pattern in patterns)
