"""Request bodies: read within a cap, checked as JSON, turned into the shape a route declares.

One parser for the whole edge, stricter than any it feeds: what passes here can be decoded by everything
behind it. It is lenient where clients of the original rely on it (unknown keys, numbers for text,
camelCase, no body at all) and reports all fields that are wrong at once.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin

import anyio
import msgspec
from msgspec import Raw, Struct

from airy.http.asgi import RawHeaders, Receive
from airy.http.problems import Fault, Problem, unavailable
from airy.model.ids import canonical_uuid
from airy.secret import Secret

B = TypeVar("B", bound=Struct)

CLOSE = [(b"connection", b"close")]
DEPTH_MAX = 64
SECRET_CHARS_MAX = 4_096

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = bytes(1 if byte in b"[{" else 255 for byte in range(256))


class BodyLimits(Struct, frozen=True, kw_only=True):
    bytes_max: int = 1_048_576
    unfinished_bytes_max: int = 67_108_864  # of all bodies still arriving
    arrive_s: float = 15.0


class Disconnected(Problem):
    """The client left before its request was complete; whatever is answered, nobody reads it."""

    def __init__(self) -> None:
        super().__init__(408, "the connection ended before the body did")


class Text(str):
    """Marks text of a bounded length; numbers and booleans are taken as their JSON. Fields hold plain `str`."""

    __slots__ = ()
    chars_max = 1_024


class LongText(Text):
    __slots__ = ()
    chars_max = 8_192


class Id(str):
    """Marks a UUID, canonical lower case. Fields hold plain `str`."""

    __slots__ = ()


class Json:
    """Any JSON value but null, as bytes that decode everywhere."""

    __slots__ = ("raw", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.raw = Raw(msgspec.json.encode(value))


class BodyReader:
    """Reads whole bodies: each within its limits, and all that are unfinished within theirs together.

    The deadline starts with a body's first part, because a scope for each request would cost a third of it;
    the server's own deadline covers what comes before.
    """

    def __init__(self, limits: BodyLimits | None = None) -> None:
        self.limits = limits or BodyLimits()
        self.unfinished_bytes = 0

    async def read(self, receive: Receive, headers: RawHeaders) -> bytes:
        """Raises `Problem`: 413 as soon as it is known to be too long, 408, 503, and `Disconnected`."""
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            for name, value in headers:
                if name == b"content-length" and value.isdigit() and int(value[:18]) > self.limits.bytes_max:
                    raise self._too_large()
            return await self._finish(receive, body)
        if len(body) > self.limits.bytes_max:
            raise self._too_large()
        return body

    async def _finish(self, receive: Receive, start: bytes) -> bytes:
        body = bytearray()
        try:
            with anyio.move_on_after(self.limits.arrive_s):
                self._grow(body, start)
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Disconnected
                    self._grow(body, message.get("body", b""))
                    more = message.get("more_body", False)
                return bytes(body)
        finally:
            self.unfinished_bytes -= len(body)
        raise Problem(408, f"the body took longer than {self.limits.arrive_s:g} s to arrive", headers=CLOSE)

    def _grow(self, body: bytearray, part: bytes) -> None:
        if len(body) + len(part) > self.limits.bytes_max:
            raise self._too_large()
        if self.unfinished_bytes + len(part) > self.limits.unfinished_bytes_max:
            raise unavailable("too many bodies are arriving at once")
        body += part
        self.unfinished_bytes += len(part)

    def _too_large(self) -> Problem:
        return Problem(413, f"the body is over {self.limits.bytes_max} bytes", headers=CLOSE)


def decode(body: bytes, headers: RawHeaders, shape: type[B]) -> B:
    """`body` as `shape`. Raises `Problem` 400 naming every field at fault, 415 for what is not plain JSON."""
    return convert(document(body, headers), shape)


def document(body: bytes, headers: RawHeaders) -> dict[str, object]:
    """The JSON object a request carries; none at all counts as an empty one."""
    if not body or body.isspace():
        return {}
    _expect_json(headers)
    value = parse(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Problem(400, f"the body must be a JSON object, not {_kind(value)}")
    return value


def _expect_json(headers: RawHeaders) -> None:
    given = {name: value for name, value in headers if name in {b"content-type", b"content-encoding"}}
    encoding = given.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise Problem(415, "compressed bodies are not taken: send it without content-encoding")
    media_type, _, parameters = given.get(b"content-type", b"").lower().partition(b";")
    media_type = media_type.strip()
    if media_type != b"application/json" and not (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    ):
        raise Problem(415, "send JSON with content-type: application/json")
    charset = re.search(rb'charset="?([^";\s]+)', parameters)
    if charset and charset[1] not in {b"utf-8", b"utf8", b"us-ascii"}:
        raise Problem(415, "send JSON as UTF-8")


def parse(body: bytes) -> object:
    """Any JSON value that every JSON reader understands alike. Raises `Problem` 400 otherwise."""
    if nested_deeper(body, DEPTH_MAX):
        raise Problem(400, f"the body nests deeper than {DEPTH_MAX} levels")
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_int64,
        )
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise Problem(400, f"the body is not JSON: {reason} at line {error.lineno}, column {error.colno}") from error
    if b"\\u" in body:
        _refuse_surrogates(value, "")
    return value


def nested_deeper(body: bytes, depth_max: int) -> bool:
    """Whether brackets outside strings nest deeper than that; linear in time, whatever the bytes are."""
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return False
    steps = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS).translate(_STEP)
    return any(depth > depth_max for depth in accumulate(steps, lambda depth, step: depth + (1 if step == 1 else -1)))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _fault(twice, "is given twice")
    return found


def _no_constant(text: str) -> object:
    raise Problem(400, f"the body is not JSON: {text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Problem(400, f"the number {text[:32]} is out of range")
    return number


def _int64(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise Problem(400, f"the number {text[:32]} is out of range: whole numbers have at most 64 bits")
    return number


def _refuse_surrogates(value: object, path: str) -> None:
    if isinstance(value, str):
        if not _encodable(value):
            raise _fault(path, "holds half a surrogate pair, which is not text")
    elif isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            _refuse_surrogates(key, where)
            _refuse_surrogates(item, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_surrogates(item, f"{path}[{index}]")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def convert(given: Mapping[str, object], shape: type[B]) -> B:
    """`given` as `shape`, field by field, so that all faults are found at once. Null means not given."""
    faults: list[Fault] = []
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(shape):
        name = field.encode_name
        value = given.get(name)
        if value is None:
            value = given.get(_camel(name))
        if value is None or (value == "" and _blank_is_null(field.type)):
            if field.required:
                faults.append(Fault(name, "is required"))
            continue
        try:
            values[field.name] = _plain(msgspec.convert(value, field.type, strict=False, dec_hook=_custom))
        except msgspec.ValidationError as error:
            faults.append(_explained(name, field.type, error))
    if faults:
        raise invalid(faults)
    return shape(**values)


def invalid(faults: Sequence[Fault]) -> Problem:
    message = "; ".join(f"{fault.field} {fault.message}" for fault in faults)
    return Problem(400, message, faults=faults)


def _fault(field: str, message: str) -> Problem:
    return invalid([Fault(field, message)])


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _options(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


def _blank_is_null(kind: object) -> bool:
    return not {Id, int}.isdisjoint(_options(kind))


def _plain(converted: object) -> object:
    """With ordinary `str` for `Text` and `Id`, which are only marks for the reader and nothing msgspec encodes."""
    match converted:
        case str():
            return str(converted)
        case list():
            return [_plain(item) for item in converted]
        case dict():
            return {key: _plain(item) for key, item in converted.items()}
        case _:
            return converted


def _custom(kind: type, value: object) -> object:
    """The types msgspec does not know. Raises ValueError with what is expected."""
    if kind is Json:
        return Json(value)
    if kind is Id:
        found = canonical_uuid(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("must be a UUID")
        return Id(found)
    if kind is Secret:
        return Secret(_text(value, SECRET_CHARS_MAX))
    if issubclass(kind, Text):
        return kind(_text(value, kind.chars_max))
    raise AssertionError(f"no request field can be a {kind.__name__}")


def _text(value: object, chars_max: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, (int, float)) else None
    if text is None:
        raise ValueError(f"must be text, not {_kind(value)}")
    if len(text) > chars_max:
        raise ValueError(f"must have at most {chars_max} characters")
    return text


def _explained(name: str, kind: object, error: msgspec.ValidationError) -> Fault:
    message, _, path = str(error).partition(" - at `$")
    where = name + path.rstrip("`")
    for option in _options(kind):
        if get_origin(option) is Literal:
            return Fault(where, f"must be one of {', '.join(get_args(option))}")
    return Fault(where, message[:1].lower() + message[1:])


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "an array"
        case _:
            return "an object"
