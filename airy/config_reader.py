"""Reads a YAML document into msgspec types and reports all problems at once, each with its line.

`msgspec.convert` stops at the first problem and knows no lines. YAML is read by version 1.2 (only `true` and `false`
are booleans; no sexagesimal numbers, no dates), so `name: no` is text. The types bound the depth of the traversal, so
that aliases and nesting cannot make it expensive.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec.inspect as shapes
import yaml
from msgspec import Struct

from airy.errors import Refused
from airy.secret import Secret

SECRET_BYTES_MAX = 65_536
DIGITS_MAX = 40  # Python refuses to convert very long numbers
SHOWN_MAX = 60  # characters of a wrong value that are shown


class ConfigProblem(Struct, frozen=True):
    """A problem, and its location."""

    file: str
    line: int | None
    path: str  # `components.sources.twilio.authToken`
    message: str

    def __str__(self) -> str:
        location = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{location}: {self.path}: {self.message}" if self.path else f"{location}: {self.message}"


class InvalidConfig(Refused):
    """The document has problems; the message has a line for each."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class _Bad:
    """Replaces a value whose problem is already noted."""


BAD = _Bad()


class _Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2's core schema."""


_Loader.yaml_implicit_resolvers = {}
_SCALARS = (  # tag, pattern, possible first characters
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
)
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str, file: str) -> yaml.Node | None:
    """The document's nodes; None if it is empty. Raises `InvalidConfig` unless it is one YAML document."""
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "unreadable"
        raise InvalidConfig(
            [ConfigProblem(file, mark.line + 1 if mark else None, "", f"not YAML: {reason}")]
        ) from error
    except yaml.YAMLError as error:
        raise InvalidConfig([ConfigProblem(file, None, "", f"not YAML: {error}")]) from error


def scalar(text: str) -> yaml.ScalarNode:
    """Text from outside the document (an environment variable, a comma-separated list) as a node."""
    tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return yaml.ScalarNode(tag, text)


class ConfigReader:
    """Converts nodes to values and collects the problems. One per document."""

    def __init__(self, file: str, env: Mapping[str, str], hints: Mapping[str, str] | None = None) -> None:
        self.problems: list[ConfigProblem] = []
        self.lines: dict[str, int] = {}  # by path of each key
        self._file = file
        self._env = env
        self._hints = hints or {}  # path of an unknown key: what to write instead

    def read(self, node: yaml.Node, shape: shapes.Type, path: str, expected: str = "") -> object:  # noqa: C901, PLR0911 - one case for each shape
        """The value, or `BAD` after noting a problem."""
        match shape:
            case shapes.Metadata():
                return self.read(node, shape.type, path, (shape.extra or {}).get("expected", expected))
            case shapes.UnionType():
                return self._optional(node, shape, path, expected)
            case shapes.StructType():
                return self._struct(node, shape, path)
            case shapes.DictType():
                return self._mapping(node, shape, path)
            case shapes.VarTupleType():
                return self._items(node, shape, path)
            case shapes.LiteralType():
                return self._choice(node, shape, path)
            case shapes.BoolType():
                return self._boolean(node, path)
            case shapes.IntType() | shapes.FloatType():
                return self._number(node, shape, path)
            case shapes.StrType():
                return self._text(node, shape, path, expected or "text")
            case shapes.CustomType() if shape.cls is Secret:
                return self._secret(node, path)
        raise TypeError(f"the reader has no case for {shape}")

    def note(self, path: str, message: str, *, line: int | None = None) -> _Bad:
        self.problems.append(ConfigProblem(self._file, line or self.lines.get(path), path, message))
        return BAD

    def _wrong(self, node: yaml.Node, path: str, expected: str) -> _Bad:
        return self.note(path, f"expected {expected}, found {_found(node)}", line=_line(node))

    def _optional(self, node: yaml.Node, shape: shapes.UnionType, path: str, expected: str) -> object:
        if _kind(node) == "null":
            return None
        (option_type,) = (option for option in shape.types if not isinstance(option, shapes.NoneType))
        return self.read(node, option_type, path, expected)

    # --- mappings and lists

    def _struct(self, node: yaml.Node, shape: shapes.StructType, path: str) -> object:
        fields = {field.encode_name: field for field in shape.fields}
        values: dict[str, object] = {}
        for key, child in self._entries(node, path):
            key_path = join(path, key)
            if key in fields:
                values[fields[key].name] = self.read(child, fields[key].type, key_path)
            else:
                self.note(key_path, self._hints.get(key_path) or _unknown(key, fields))
        if "enabled" in fields:
            values.setdefault("enabled", True)  # a section that is present is enabled
            self._note_missing(shape, values, path)
        return BAD if BAD in values.values() else shape.cls(**values)

    def _note_missing(self, shape: shapes.StructType, values: Mapping[str, object], path: str) -> None:
        if values["enabled"] is not True:
            return
        name, line = path.rpartition(".")[2], self.lines.get(path)
        for field in required_fields(shape):
            if not values.get(field.name, field.default):
                missing = f"is needed while {name} is enabled: give it, or set `enabled: false`"
                self.note(join(path, field.encode_name), missing, line=line)

    def _mapping(self, node: yaml.Node, shape: shapes.DictType, path: str) -> object:
        entries = self._entries(node, path)
        values = {key: self.read(child, shape.value_type, join(path, key)) for key, child in entries}
        return BAD if BAD in values.values() else values

    def _entries(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node]]:
        """Keys and their nodes. Records the line of each key; notes duplicate and non-scalar keys."""
        if _kind(node) == "null":  # a section whose keys are all commented out
            return []
        if not isinstance(node, yaml.MappingNode):
            kind = _kind_in_words(node) or "true or false"  # no value: it may be a secret
            self.note(path, f"expected keys and values, found {kind}", line=_line(node))
            return []
        found: dict[str, yaml.Node] = {}
        for key, child in node.value:
            key_path = join(path, key.value if isinstance(key, yaml.ScalarNode) else "?")
            if not isinstance(key, yaml.ScalarNode):
                self.note(key_path, f"expected a scalar key, found {_found(key)}", line=_line(key))
            elif key.value in found:
                self.note(key_path, f"is given twice, first on line {self.lines[key_path]}", line=_line(key))
            else:
                self.lines[key_path] = key.start_mark.line + 1
                found[key.value] = child
        return list(found.items())

    def _items(self, node: yaml.Node, shape: shapes.VarTupleType, path: str) -> object:
        nodes = _as_items(node, one=isinstance(shape.item_type, shapes.CustomType))
        if nodes is None:
            return self._wrong(node, path, "a list")
        values = tuple(self.read(child, shape.item_type, path) for child in nodes)
        if shape.max_length is not None and len(values) > shape.max_length:
            many = f"expected at most {shape.max_length} values, found {len(values)}"
            return self.note(path, many, line=_line(node))
        return BAD if BAD in values else values

    # --- scalars

    def _boolean(self, node: yaml.Node, path: str) -> object:
        if isinstance(node, yaml.ScalarNode) and _kind(node) == "bool":
            return node.value.lower() == "true"
        return self._wrong(node, path, "true or false")

    def _number(self, node: yaml.Node, shape: shapes.IntType | shapes.FloatType, path: str) -> object:
        whole = isinstance(shape, shapes.IntType)
        kinds = ("int",) if whole else ("int", "float")
        if isinstance(node, yaml.ScalarNode) and _kind(node) in kinds:
            number = _value(node)
            if _within(number, shape):
                return number if whole else float(number)
        return self._wrong(node, path, f"a {'whole ' if whole else ''}number{_bounds(shape)}")

    def _text(self, node: yaml.Node, shape: shapes.StrType, path: str, expected: str) -> object:
        # a number is accepted as written: an app id of digits needs no quotes
        if isinstance(node, yaml.ScalarNode) and _kind(node) not in ("null", "bool"):
            text = str(node.value)
            if shape.pattern is None or re.search(shape.pattern, text):
                return text
        return self._wrong(node, path, expected)

    def _choice(self, node: yaml.Node, shape: shapes.LiteralType, path: str) -> object:
        words = [str(value) for value in shape.values]
        if isinstance(node, yaml.ScalarNode) and node.value in words:
            return node.value
        near = closest(node.value, words) if isinstance(node, yaml.ScalarNode) else ""
        return self.note(path, f"expected one of {', '.join(words)}; found {_found(node)}{near}", line=_line(node))

    def _secret(self, node: yaml.Node, path: str) -> object:
        """Problems never show the value."""
        expected = "a secret (text, env:NAME or file:PATH)"
        if not isinstance(node, yaml.ScalarNode) or _kind(node) in ("null", "bool"):
            return self._wrong(node, path, expected)
        text, missing = _resolve(str(node.value), self._env)
        if not text.strip():
            return self.note(path, missing or f"expected {expected}, found empty text", line=_line(node))
        return Secret(text)


def required_fields(shape: shapes.StructType) -> list[shapes.Field]:
    """The fields marked `Meta(extra={"required": True})`, which an enabled section must set."""
    marked = [field for field in shape.fields if isinstance(field.type, shapes.Metadata)]
    return [field for field in marked if isinstance(field.type, shapes.Metadata) and _marked(field.type)]


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _marked(shape: shapes.Metadata) -> bool:
    return bool((shape.extra or {}).get("required"))


def _unknown(key: str, known: Mapping[str, object]) -> str:
    return f"unknown key{closest(key, list(known)) or '; known here: ' + ', '.join(known)}"


def closest(word: str, words: Sequence[str]) -> str:
    """A hint to append to a message; empty without a close match."""
    folded = {re.sub(r"[-_ ]", "", known).lower(): known for known in words}
    near = difflib.get_close_matches(re.sub(r"[-_ ]", "", word).lower(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def _resolve(text: str, env: Mapping[str, str]) -> tuple[str, str]:
    """A secret's text; and for `env:` and `file:` the message if the text is empty."""
    scheme, _, name = text.partition(":")
    if scheme == "env":
        return env.get(name, ""), f"environment variable {name} is {'empty' if name in env else 'not set'}"
    if scheme == "file":
        return _file_text(name)
    return text, ""


def _file_text(name: str) -> tuple[str, str]:
    """The file's text without its last line break."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        return "", f"cannot read {name}: {error.strerror}"
    except UnicodeDecodeError:
        return "", f"cannot read {name}: it is not UTF-8 text"
    if len(data) > SECRET_BYTES_MAX:
        return "", f"cannot read {name}: it is over {SECRET_BYTES_MAX} bytes, which is no secret"
    return text, f"{name} is empty"


def _as_items(node: yaml.Node, *, one: bool) -> list[yaml.Node] | None:
    """A list, or its short forms: a single item, or comma-separated text."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.ScalarNode) or _kind(node) == "bool":
        return None
    if _kind(node) == "null":
        return []
    if one:
        return [node]
    parts = [part.strip() for part in node.value.split(",")]
    return [yaml.ScalarNode(scalar(part).tag, part, node.start_mark) for part in parts if part]


def _kind(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _line(node: yaml.Node) -> int | None:
    return node.start_mark.line + 1 if node.start_mark else None


def _value(node: yaml.ScalarNode) -> float:
    if len(node.value) > DIGITS_MAX:
        return math.inf
    if _kind(node) == "int":
        return int(node.value, 0 if node.value[:2] in ("0x", "0o") else 10)
    return float(node.value)


_KINDS = {  # type of a node, as it precedes the value in a message
    "map": "keys and values",
    "seq": "a list",
    "null": "nothing",
    "bool": "",
    "int": "the number",
    "float": "the number",
    "str": "text",
}


def _kind_in_words(node: yaml.Node) -> str:
    return _KINDS.get(_kind(node), f"something tagged {node.tag}")


def _found(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or _kind(node) == "null":
        return _kind_in_words(node)
    shown = node.value if len(node.value) <= SHOWN_MAX else node.value[: SHOWN_MAX - 1] + "…"
    quoted = repr(shown) if _kind(node) == "str" else shown
    return f"{_kind_in_words(node)} {quoted}".strip()


def _bounds(shape: shapes.IntType | shapes.FloatType) -> str:
    if shape.ge is not None and shape.le is not None:
        return f" from {shape.ge} to {shape.le}"
    return f" of at least {shape.ge}" if shape.ge is not None else ""


def _within(value: float, shape: shapes.IntType | shapes.FloatType) -> bool:
    above = shape.ge is None or value >= shape.ge
    return math.isfinite(value) and above and (shape.le is None or value <= shape.le)
