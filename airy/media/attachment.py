"""The attachments of a message: the files its canonical content names, by address or by the provider's id. Pure."""

import mimetypes
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from airy.media import file_name
from airy.media.media_type import UNKNOWN, matches
from airy.model import metadata, stored_media
from airy.model.conversation import Message
from airy.model.metadata import Flat
from airy.sources.spec import MediaOrigin

ATTACHMENTS_MAX = 50  # of one message
REFERENCE_CHARS_MAX = 4_096
ACCEPTED = {  # by kind of content; a type that cannot be told from the bytes is accepted, and downloaded by browsers
    "image": ("image/*",),
    "video": ("video/*", "audio/*", "image/gif"),
    "audio": ("audio/*", "video/*"),
    "voice": ("audio/*", "video/*"),
}
_EXTENSIONS = mimetypes.MimeTypes()  # the table of the standard library, not that of the machine


class Attachment(Struct, frozen=True, kw_only=True):
    """`nth`: its index in the canonical content. `reference`: the provider's id, or else the address."""

    nth: int
    reference: str
    url: str = ""
    kind: str = "file"
    mime: str = ""
    size: int | None = None
    sha256: str = ""
    filename: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The metadata keys that have the address of the stored file."""
        return tuple(f"{stored_media.PREFIX}{name}" for name in dict.fromkeys((self.reference, self.url)) if name)

    @property
    def error_key(self) -> str:
        return f"media.{self.nth}.error"

    @property
    def client_name(self) -> str:
        """A file name with the extension the file should have."""
        for name in (self.filename, urlsplit(self.url).path if self.url else ""):
            if file_name.extension(name):
                return name
        guessed = _EXTENSIONS.guess_extension(self.mime.partition(";")[0].strip().lower())
        return f"file{guessed or ''}"

    def fits(self, media_type: str) -> bool:
        """Whether a file of this type is what the content says: no page of a login in place of a picture."""
        patterns = ACCEPTED.get(self.kind, ("*/*",))
        return media_type == UNKNOWN or matches(media_type, patterns)


class _AttachmentPart(Struct):
    """What is read of one canonical content."""

    type: str = ""
    kind: str = ""
    url: str | None = None
    media_id: str | None = None
    mime: str | None = None
    size: int | None = None
    sha256: str | None = None
    filename: str | None = None


_parts = msgspec.json.Decoder(list[_AttachmentPart])


def may_have(body: bytes) -> bool:
    """A cheap test of a change's body, so that most changes are not decoded."""
    return b'"type":"media"' in body or b'"type":"story"' in body


def of_message(message: Message, origin: MediaOrigin) -> list[Attachment]:
    """Files to fetch for a message that a contact wrote, or that another program sent from the same account."""
    if origin == "none" or message.deleted or not (message.from_contact or message.echoed):
        return []
    try:
        parts = _parts.decode(message.canonical)
    except msgspec.MsgspecError:
        return []
    found: list[Attachment] = []
    for nth, part in enumerate(parts):
        attachment = _attachment(nth, part, origin)
        if attachment is not None and all(attachment.reference != each.reference for each in found):
            found.append(attachment)
    return found[:ATTACHMENTS_MAX]


def _attachment(nth: int, part: _AttachmentPart, origin: MediaOrigin) -> Attachment | None:
    if part.type not in {"media", "story"}:
        return None
    url = part.url if part.url and part.url.startswith(("https://", "http://")) else ""
    reference = (part.media_id if origin == "provider" else None) or url
    if not reference or max(len(reference), len(url)) > REFERENCE_CHARS_MAX:
        return None
    return Attachment(
        nth=nth,
        reference=reference,
        url=url,
        kind=part.kind if part.type == "media" else "story",
        mime=part.mime or "",
        size=part.size,
        sha256=part.sha256 or "",
        filename=part.filename or "",
    )


def is_stored(attachment: Attachment, flat: Flat) -> bool:
    return attachment.keys[0] in flat


def key_problem(attachment: Attachment, others: Iterable[str]) -> str:
    """Why metadata with the keys `others` cannot hold its keys; empty if it can. A dot in a key is a level."""
    taken = list(others)
    for key in attachment.keys:
        if metadata.too_long(key):
            return f"the address has more than {metadata.PARTS_MAX} dots"
        if any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in taken):
            return "its address begins with the address of another file of the message"
    return ""
