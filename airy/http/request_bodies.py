"""Request bodies: parsed as JSON, converted to the struct a route declares.

One parser for the whole API, stricter than every consumer of its output: what passes here decodes everywhere. It is
lenient where clients of the original Airy rely on it (unknown keys, numbers for text, camelCase, no body at all), and
reports all invalid fields at once.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

from airy.entered_text import invisible, trimmed
from airy.http.asgi import RawHeaders
from airy.http.entered_time import entered_time_ms
from airy.http.field_error import FieldError, field_error
from airy.http.number_range import NumberOutOfRange, finite_float, int64, number_problem
from airy.http.problems import Problem
from airy.model.ids import canonical_uuid
from airy.secret import Secret

B = TypeVar("B", bound=Struct)

DEPTH_MAX = 64
SECRET_CHARS_MAX = 4_096
ERRORS_MAX = 100  # of the items of an array

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = bytes(1 if byte in b"[{" else 255 for byte in range(256))


class Text(str):
    """Annotation: text of at most `chars_max` characters; numbers and booleans become their JSON text.

    Fields hold plain `str`.
    """

    __slots__ = ()
    chars_max = 1_024


class LongText(Text):
    __slots__ = ()
    chars_max = 8_192


class FilledText(Text):
    """Annotation: blank text counts as absent, because forms send fields that were not filled in as empty text."""

    __slots__ = ()


class LongFilledText(FilledText):
    __slots__ = ()
    chars_max = 8_192


class Line(FilledText):
    """Annotation: text without control characters; outer white space is dropped."""

    __slots__ = ()


class LongLine(Line):
    __slots__ = ()
    chars_max = 8_192


class Id(str):
    """Annotation: a UUID, in canonical lower case. Fields hold plain `str`."""

    __slots__ = ()


class Time(int):
    """Annotation: a time in ms since 1970, from a number or from ISO 8601 text with a zone. Fields hold plain `int`."""

    __slots__ = ()


class Json:
    """Any JSON value but null: decoded, and as JSON bytes that every JSON reader decodes alike."""

    __slots__ = ("raw", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.raw = Raw(msgspec.json.encode(value))


def json_object(body: bytes, headers: RawHeaders) -> dict[str, object]:
    """The JSON object of a request; no body, or null, counts as an empty object.

    Raises `Problem`: 400 for what is not a JSON object, 415 for what is not plain JSON by its headers.
    """
    value = _json(body, headers)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Problem(400, f"the body must be a JSON object, not {_json_type(value)}")
    return value


def json_array(body: bytes, headers: RawHeaders) -> list[object]:
    """The JSON array of a request; no body, or null, counts as an empty array. Raises as `json_object`."""
    value = _json(body, headers)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Problem(400, f"the body must be a JSON array, not {_json_type(value)}")
    return value


def _json(body: bytes, headers: RawHeaders) -> object:
    if not body or body.isspace():
        return None
    _check_content_type(headers)
    return parse(body)


def content_type_of(headers: RawHeaders) -> str:
    """The last `content-type` header; empty without one."""
    values = [value.decode("latin-1") for name, value in headers if name == b"content-type"]
    return values[-1] if values else ""


def media_type_of(headers: RawHeaders) -> str:
    return content_type_of(headers).partition(";")[0].strip().lower()


def _check_content_type(headers: RawHeaders) -> None:
    given = {name: value for name, value in headers if name in {b"content-type", b"content-encoding"}}
    encoding = given.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise Problem(415, "compressed bodies are not supported: send the body without content-encoding")
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
    """A JSON value that every JSON reader decodes alike. Raises `Problem` 400 otherwise."""
    if nested_deeper(body, DEPTH_MAX):
        raise Problem(400, f"the body nests deeper than {DEPTH_MAX} levels")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 at byte {error.start}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_reject_constant,
            parse_float=finite_float,
            parse_int=int64,
        )
    except NumberOutOfRange as error:
        raise number_problem(text, error) from error
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise Problem(400, f"the body is not JSON: {reason} at line {error.lineno}, column {error.colno}") from error
    if b"\\u" in body:
        _reject_surrogates(value, "")
    return value


def nested_deeper(body: bytes, depth_max: int) -> bool:
    """Whether brackets outside strings nest deeper than `depth_max`. Linear in time for any bytes."""
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return False
    steps = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS).translate(_STEP)
    return any(depth > depth_max for depth in accumulate(steps, lambda depth, step: depth + (1 if step == 1 else -1)))


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _invalid_field(duplicate, "is given twice")
    return found


def _reject_constant(text: str) -> object:
    raise Problem(400, f"the body is not JSON: {text} is not a JSON number")


def _reject_surrogates(value: object, path: str) -> None:
    if isinstance(value, str):
        if not _is_utf8_encodable(value):
            raise _invalid_field(path, "contains an unpaired surrogate, which is not text")
    elif isinstance(value, dict):
        for key, item in value.items():
            item_path = f"{path}.{key}" if path else key
            _reject_surrogates(key, item_path)
            _reject_surrogates(item, item_path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _reject_surrogates(item, f"{path}[{index}]")


def _is_utf8_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def convert(given: Mapping[str, object], struct: type[B]) -> B:
    """`given` as `struct`, field by field, so that all errors are found at once. Null counts as absent."""
    errors: list[FieldError] = []
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        value = given.get(name)
        if value is None:
            value = given.get(_camel_case(name))
        if value is None or (isinstance(value, str) and _counts_as_absent(value, field)):
            if field.required:
                errors.append(FieldError(name, "is required"))
            continue
        item = _item_struct(field.type)
        if item is not None:
            try:
                items = msgspec.convert(value, _list_of(field.type), strict=False)
                values[field.name] = convert_items(items, item, name)
            except msgspec.ValidationError as error:
                errors.append(_field_error(name, field.type, error))
            except Problem as problem:
                errors += problem.fields
            continue
        try:
            values[field.name] = _plain_str(msgspec.convert(value, field.type, strict=False, dec_hook=_decode_custom))
        except msgspec.ValidationError as error:
            errors.append(_field_error(name, field.type, error))
    if errors:
        raise invalid(errors)
    return struct(**values)


def _item_struct(kind: Any) -> type[Struct] | None:
    """The struct of a field that is a list of them."""
    if get_origin(kind) is Annotated:
        return _item_struct(get_args(kind)[0])
    members = get_args(kind) if get_origin(kind) is list else ()
    return members[0] if members and isinstance(members[0], type) and issubclass(members[0], Struct) else None


def _list_of(kind: Any) -> Any:
    """The same list with items of any kind: its length is bounded alike."""
    return Annotated[(list[Any], *kind.__metadata__)] if get_origin(kind) is Annotated else list[Any]


def convert_items(items: Sequence[object], struct: type[B], name: str = "") -> list[B]:
    """Each of `items` as `struct`. Errors of all items are found at once, as `name[2].field`."""
    errors: list[FieldError] = []
    converted: list[B] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            errors.append(FieldError(f"{name}[{index}]", f"must be an object, not {_json_type(item)}"))
            continue
        try:
            converted.append(convert(item, struct))
        except Problem as problem:
            errors += [FieldError(f"{name}[{index}].{error.field}", error.message) for error in problem.fields]
    if errors:
        raise invalid(errors[:ERRORS_MAX])
    return converted


def invalid(errors: Sequence[FieldError]) -> Problem:
    message = "; ".join(f"{error.field} {error.message}" for error in errors)
    return Problem(400, message, fields=errors)


def _invalid_field(field: str, message: str) -> Problem:
    return invalid([FieldError(field, message)])


def _camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _union_members(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


def _counts_as_absent(text: str, field: msgspec.structs.FieldInfo) -> bool:
    """Whether blank text means that the field is not given. A blank optional secret may mean that it is removed."""
    if text.strip():
        return False
    for kind in _union_members(field.type):
        if kind in {Id, int} or (isinstance(kind, type) and issubclass(kind, FilledText)):
            return True
        if (kind is Secret and field.required) or (get_origin(kind) is Literal and not field.required):
            return True
    return False


def _plain_str(converted: object) -> object:
    """Replace `Text` and `Id` by `str`: msgspec does not encode subclasses of it."""
    match converted:
        case str():
            return str(converted)
        case Time():
            return int(converted)
        case list():
            return [_plain_str(item) for item in converted]
        case dict():
            return {key: _plain_str(item) for key, item in converted.items()}
        case _:
            return converted


def _decode_custom(kind: type, value: object) -> object:
    """Decode the types msgspec does not know. Raises `ValueError` with the expected type."""
    if kind is Json:
        return Json(value)
    if kind is Id:
        found = canonical_uuid(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("must be a UUID")
        return Id(found)
    if kind is Time:
        return Time(entered_time_ms(value))
    if kind is Secret:
        return Secret.entered(_text(value, SECRET_CHARS_MAX))
    if issubclass(kind, Line):
        text = trimmed(_text(value, kind.chars_max))
        if found := invisible(text):
            raise ValueError(f"contains {found}")
        return kind(text)
    if issubclass(kind, Text):
        return kind(_text(value, kind.chars_max))
    raise AssertionError(f"no request field can be a {kind.__name__}")


def _text(value: object, chars_max: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, (int, float)) else None
    if text is None:
        raise ValueError(f"must be text, not {_json_type(value)}")
    if len(text) > chars_max:
        raise ValueError(f"must have at most {chars_max} characters")
    return text


def _field_error(name: str, kind: object, error: msgspec.ValidationError) -> FieldError:
    message, _, path_below = str(error).partition(" - at `$")
    path = name + path_below.rstrip("`")
    for member in _union_members(kind):
        if get_origin(member) is Literal:
            return FieldError(path, f"must be one of {', '.join(get_args(member))}")
    return field_error(path, message)


def _json_type(value: object) -> str:
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
