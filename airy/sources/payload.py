"""What a provider sent, made readable: bounded in depth, sliced without re-encoding, repaired where it can
be.

Every source decodes through here. A webhook was acknowledged before it was parsed, so a lone surrogate, a
byte that is not UTF-8 or a depth bomb in one element must not lose its neighbours. Slices are the sender's
own bytes, so key order, escapes and large numbers survive. Not a validator: which members an event needs is
the source's business.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from airy.errors import Undecodable

DEPTH_MAX = 64  # levels of a whole body

_QUOTE, _OPENING = ord('"'), frozenset(b"[{")
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'  # or one that never ends: no search may be quadratic
_STRINGS = re.compile(_STRING, re.DOTALL)
_TOKENS = re.compile(_STRING + rb"|[\[{}\]]", re.DOTALL)
_CONTROLS = re.compile(rb"[\x00-\x1f]")
_HALVES = re.compile(  # escaped backslashes and whole pairs are matched too, so that they are stepped over
    rb"\\\\|\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)
_HALF_BYTES = len(rb"\ud83d")
_KINDS = {
    b"{": "an object",
    b"[": "a list",
    b'"': "text",
    b"n": "null",
    b"t": "true",
    b"f": "false",
    b"": "nothing",
}
_CUT = b'"nested deeper than %d levels"' % DEPTH_MAX

_value_decoder = msgspec.json.Decoder()
_raw_decoder = msgspec.json.Decoder(Raw)
_members_decoder = msgspec.json.Decoder(dict[str, Raw])
_items_decoder = msgspec.json.Decoder(list[Raw])
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Payload(NamedTuple):
    """A body that is JSON now, and the bytes it came as."""

    body: bytes
    received: bytes

    def repaired(self, part: Raw) -> bool:
        """Whether `part` of the body differs from what was received."""
        return self.body is not self.received and bytes(part) not in self.received


def read(received: bytes, *, element_level: int) -> Payload:
    """`element_level` is the depth of the smallest part that may be lost alone. Raises `Undecodable`."""
    body = _repair(_cut_deep(received, element_level))
    try:
        _raw_decoder.decode(body)
    except _BROKEN:
        body = _STRINGS.sub(_escape_controls, body)
        try:
            _raw_decoder.decode(body)
        except _BROKEN as error:
            raise Undecodable(f"the body is not JSON: {error}") from error
    return Payload(body, received)


def members(part: Raw | bytes) -> dict[str, Raw]:
    """The members of an object; of twins the last. Raises `Undecodable`."""
    try:
        return _members_decoder.decode(part)
    except _BROKEN as error:
        raise Undecodable(_is_not("an object", part)) from error


def items(part: Raw) -> list[Raw]:
    """Raises `Undecodable`."""
    try:
        return _items_decoder.decode(part)
    except _BROKEN as error:
        raise Undecodable(_is_not("a list", part)) from error


def value(part: Raw) -> object:
    """Raises `Undecodable`, also for numbers no machine can hold."""
    try:
        return _value_decoder.decode(part)
    except _BROKEN as error:
        raise Undecodable(f"cannot be read: {error}") from error


def object_of(body: bytes) -> dict[str, object] | None:
    """The body of a provider's answer if it is a JSON object."""
    try:
        found = value(Raw(body))
    except Undecodable:
        return None
    return found if isinstance(found, dict) else None


def canonical(thing: object) -> str:
    """JSON with sorted keys and no white space: equal for equal things, in whatever order they came."""
    return msgspec.json.encode(thing, order="deterministic").decode()


def record(thing: object) -> dict[str, object]:
    """`thing` if it is an object, else an empty one."""
    return thing if isinstance(thing, dict) else {}


def text(thing: object) -> str | None:
    """`thing` if it is text that says something, without NUL, which databases and terminals choke on."""
    return (thing.replace("\0", "") or None) if isinstance(thing, str) else None


def identifier(thing: object) -> str | None:
    """An id as text; some senders write digits without quotes."""
    if isinstance(thing, int) and not isinstance(thing, bool):
        return str(thing)
    return text(thing)


def _cut_deep(body: bytes, element_level: int) -> bytes:
    """`body` with every part at `element_level` that nests too deep replaced by a text that says so.

    The decoder answers depth with RecursionError, so depth is judged before it sees the bytes.
    """
    if body.count(b"{") + body.count(b"[") <= DEPTH_MAX:
        return body
    pieces: list[bytes] = []
    depth = start = copied = 0
    deep = False
    for token in _TOKENS.finditer(body):
        byte = body[token.start()]
        if byte == _QUOTE:
            continue
        if byte in _OPENING:
            depth += 1
            if depth == element_level:
                start = token.start()
            deep = deep or depth > DEPTH_MAX
            continue
        if deep and depth == element_level:
            pieces += (body[copied:start], _CUT)
            copied, deep = token.end(), False
        depth -= 1
    if deep:
        raise Undecodable(f"the body nests deeper than {DEPTH_MAX} levels and ends in the middle")
    return b"".join((*pieces, body[copied:])) if pieces else body


def _repair(body: bytes) -> bytes:
    """Same object when there is nothing to repair."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            body = body.decode("utf-8", "replace").encode()
    if b"\\ud" in body or b"\\uD" in body:
        repaired = _HALVES.sub(_replace_half, body)
        return body if repaired == body else repaired
    return body


def _replace_half(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return rb"\ufffd" if len(found) == _HALF_BYTES else found


def _escape_controls(match: re.Match[bytes]) -> bytes:
    return _CONTROLS.sub(lambda control: b"\\u%04x" % control[0][0], match[0])


def _is_not(wanted: str, part: Raw | bytes) -> str:
    """Says what `part` is instead, without quoting its content."""
    found = bytes(part).lstrip()
    if found == _CUT:
        return _CUT.strip(b'"').decode()
    return f"is not {wanted} but {_KINDS.get(found[:1], 'a number')}"
