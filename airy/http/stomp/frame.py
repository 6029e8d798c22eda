r"""The frame codec: bytes to frames and back. Pure.

Escapes depend on the version: 1.0 has none, 1.1 has `\n`, `\c` and `\\`, 1.2 adds `\r`. CONNECT, STOMP and
CONNECTED are never escaped, because they are sent before a version is agreed on.
"""

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from airy.errors import Refused

Version = Literal["1.0", "1.1", "1.2"]

HEADERS_MAX = 64  # of one frame
HEAD_BYTES_MAX = 16_384  # command and headers
COMMAND = re.compile(r"[A-Z]{1,16}")
UNESCAPED_COMMANDS = frozenset({"CONNECT", "STOMP", "CONNECTED"})

_ESCAPES: Mapping[str, Mapping[str, str]] = {
    "1.0": {},
    "1.1": {"\\": "\\\\", "\n": "\\n", ":": "\\c"},
    "1.2": {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"},
}
_TABLES = {version: str.maketrans(dict(escapes)) for version, escapes in _ESCAPES.items()}
_UNESCAPES = {version: {text: char for char, text in escapes.items()} for version, escapes in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\.?", re.DOTALL)


class FrameError(Refused):
    """The bytes are not a frame."""


class Frame(Struct, frozen=True):
    """`headers` holds the first of repeated headers, which is the one that counts."""

    command: str
    headers: dict[str, str] = {}
    body: bytes = b""


def escape(text: str, version: Version) -> str:
    return text.translate(_TABLES[version])


def unescape(text: str, version: Version) -> str:
    """Raises `FrameError` for a sequence the version does not define."""
    if "\\" not in text or version == "1.0":
        return text
    known = _UNESCAPES[version]

    def replaced(found: re.Match[str]) -> str:
        try:
            return known[found[0]]
        except KeyError:
            raise FrameError(f"undefined escape {found[0]!r} in a header") from None

    return _ESCAPED.sub(replaced, text)


def encode(frame: Frame, version: Version) -> bytes:
    """A body gets a `content-length`. Raises `FrameError` for a header the version cannot express."""
    lines = [frame.command]
    escaping: Version = "1.0" if frame.command in UNESCAPED_COMMANDS else version
    for given_name, given_value in _with_length(frame).items():
        name, value = escape(given_name, escaping), escape(given_value, escaping)
        if ":" in name or "\n" in name + value:
            raise FrameError(f"header {given_name!r} cannot be sent in STOMP {version}")
        lines.append(f"{name}:{value}")
    return "\n".join([*lines, "", ""]).encode() + frame.body + b"\0"


def _with_length(frame: Frame) -> dict[str, str]:
    return {**frame.headers, "content-length": str(len(frame.body))} if frame.body else frame.headers


class FrameDecoder:
    """Assembles frames from the messages of a websocket, which need not end where frames end.

    `version` is that of the session, None before CONNECT is answered. Line ends between frames are heart-beats.
    """

    def __init__(self, *, body_bytes_max: int) -> None:
        self.version: Version | None = None
        self._body_bytes_max = body_bytes_max
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next complete frame. Raises `FrameError`; the decoder must not be used after that."""
        self._buffer = self._buffer.lstrip(b"\r\n")
        head_end, body_start = self._head()
        if head_end is None:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise FrameError(f"command and headers are more than {HEAD_BYTES_MAX} bytes")
            return None
        command, headers = self._parse_head(self._buffer[:head_end])
        body_end = self._body_end(headers, body_start)
        if body_end is None:
            return None
        body, self._buffer = self._buffer[body_start:body_end], self._buffer[body_end + 1 :]
        return Frame(command, headers, body)

    def _head(self) -> tuple[int | None, int]:
        """Where the headers end and the body starts; None: they are not complete."""
        found = (_BLANK_LINE if self.version in {"1.2", None} else _BLANK_LINE_BEFORE_1_2).search(self._buffer)
        nul = self._buffer.find(b"\0", 0, found.start() if found else None)
        if nul >= 0:
            raise FrameError("a frame needs an empty line after its headers")
        if found is None:
            return None, 0
        if found.start() > HEAD_BYTES_MAX:
            raise FrameError(f"command and headers are more than {HEAD_BYTES_MAX} bytes")
        return found.start(), found.end()

    def _parse_head(self, head: bytes) -> tuple[str, dict[str, str]]:
        try:
            command, *lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise FrameError("headers are not UTF-8") from None
        command = command.removesuffix("\r")
        if COMMAND.fullmatch(command) is None:
            raise FrameError(f"not a command: {command[:32]!r}")
        if len(lines) > HEADERS_MAX:
            raise FrameError(f"more than {HEADERS_MAX} headers")
        headers: dict[str, str] = {}
        for line in lines:
            name, value = self._parse_header(line, escaped=command not in UNESCAPED_COMMANDS)
            headers.setdefault(name, value)
        return command, headers

    def _parse_header(self, line: str, *, escaped: bool) -> tuple[str, str]:
        version = self.version or "1.2"
        if version == "1.2":
            line = line.removesuffix("\r")
        name, colon, value = line.partition(":")
        if not colon:
            raise FrameError(f"a header without a colon: {line[:32]!r}")
        if escaped:
            name, value = unescape(name, version), unescape(value, version)
        return (name.strip(), value.strip()) if version == "1.0" else (name, value)

    def _body_end(self, headers: Mapping[str, str], start: int) -> int | None:
        """Where the NUL behind the body is; None: it has not arrived."""
        given = headers.get("content-length")
        if given is None:
            end = self._buffer.find(b"\0", start)
            if (len(self._buffer) if end < 0 else end) - start > self._body_bytes_max:
                raise FrameError(f"a body is more than {self._body_bytes_max} bytes")
            return None if end < 0 else end
        is_number = given.isascii() and given.isdigit() and len(given) <= 9
        if not is_number or int(given) > self._body_bytes_max:
            raise FrameError(f"content-length is not a number up to {self._body_bytes_max}: {given[:32]!r}")
        end = start + int(given)
        if end >= len(self._buffer):
            return None
        if self._buffer[end] != 0:
            raise FrameError("no NUL after content-length bytes of body")
        return end


_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_BLANK_LINE_BEFORE_1_2 = re.compile(rb"\n\n")
