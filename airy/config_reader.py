"""Reads the nodes of a YAML document into msgspec types and reports all problems at once, each with its line.

`msgspec.convert` stops at the first problem and knows no lines. The types bound the depth of the traversal, so that
aliases cannot make it expensive.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import msgspec.inspect as shapes
import yaml

from airy.config_document import ConfigProblem, kind_of, line_of, scalar
from airy.config_references import Unresolved, resolve
from airy.entered_text import invisible, trimmed
from airy.secret import Secret

DIGITS_MAX = 40  # Python refuses to convert very long numbers
SHOWN_MAX = 60  # characters of a wrong value that are shown


class _Bad:
    """Replaces a value whose problem is already noted."""


BAD = _Bad()


class _ResolvedNode(yaml.ScalarNode):
    """What the references of a scalar stand for. Text whatever it looks like; nothing if it is empty."""

    def __init__(self, text: str, written: yaml.ScalarNode) -> None:
        text = trimmed(text)
        found = scalar(text).tag
        super().__init__(found if text == "" or not found.endswith(":null") else _STR, text, written.start_mark)
        self.written: str = written.written if isinstance(written, _ResolvedNode) else written.value


_STR = "tag:yaml.org,2002:str"


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
        resolved = self._resolved(node, path)
        if isinstance(resolved, _Bad):
            return resolved
        node = resolved
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

    def _resolved(self, node: yaml.Node, path: str) -> yaml.Node | _Bad:
        """A scalar with its references resolved; other nodes as they are. Notes tags that have no meaning here."""
        if node.tag not in _KNOWN_TAGS:
            message = "has an unknown tag: quote text that begins with !, write ${NAME} for an environment variable"
            return self.note(path, message, line=line_of(node))  # the tag may be a part of a secret
        if isinstance(node, _ResolvedNode) or not isinstance(node, yaml.ScalarNode) or node.tag != _STR:
            return node
        try:
            text = resolve(node.value, self._env)
        except Unresolved as error:
            return self.note(path, str(error), line=line_of(node))
        return node if text is None else _ResolvedNode(text, node)

    def note(self, path: str, message: str, *, line: int | None = None) -> _Bad:
        self.problems.append(ConfigProblem(self._file, line or self.lines.get(path), path, message))
        return BAD

    def _wrong(self, node: yaml.Node, path: str, expected: str) -> _Bad:
        return self.note(path, f"expected {expected}, found {_found(node)}", line=line_of(node))

    def _optional(self, node: yaml.Node, shape: shapes.UnionType, path: str, expected: str) -> object:
        if kind_of(node) == "null":
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
        if kind_of(node) == "null":  # a section whose keys are all commented out
            return []
        if not isinstance(node, yaml.MappingNode):
            kind = _kind_in_words(node) or "true or false"  # no value: it may be a secret
            self.note(path, f"expected keys and values, found {kind}", line=line_of(node))
            return []
        found: dict[str, yaml.Node] = {}
        for key, child in node.value:
            key_path = join(path, _shown(key.value) if isinstance(key, yaml.ScalarNode) else "?")
            if not isinstance(key, yaml.ScalarNode):
                self.note(key_path, f"expected a scalar key, found {_found(key)}", line=line_of(key))
            elif found_character := invisible(key.value):
                self.note(key_path, f"the key contains {found_character}", line=line_of(key))
            elif key.value in found:
                self.note(key_path, f"is given twice, first on line {self.lines[key_path]}", line=line_of(key))
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
            return self.note(path, many, line=line_of(node))
        return BAD if BAD in values else values

    # --- scalars

    def _boolean(self, node: yaml.Node, path: str) -> object:
        if isinstance(node, yaml.ScalarNode) and kind_of(node) == "bool" and node.value.lower() in ("true", "false"):
            return node.value.lower() == "true"
        return self._wrong(node, path, "true or false")

    def _number(self, node: yaml.Node, shape: shapes.IntType | shapes.FloatType, path: str) -> object:
        whole = isinstance(shape, shapes.IntType)
        kinds = ("int",) if whole else ("int", "float")
        if isinstance(node, yaml.ScalarNode) and kind_of(node) in kinds:
            number = _value(node)
            if _within(number, shape):
                return number if whole else float(number)
        return self._wrong(node, path, f"a {'whole ' if whole else ''}number{_bounds(shape)}")

    def _text(self, node: yaml.Node, shape: shapes.StrType, path: str, expected: str) -> object:
        if _is_text(node):
            text = trimmed(node.value)
            if found := invisible(text):
                return self.note(path, f"contains {found}", line=line_of(node))
            if shape.pattern is None or re.search(shape.pattern, text):
                return text
        return self._wrong(node, path, expected)

    def _choice(self, node: yaml.Node, shape: shapes.LiteralType, path: str) -> object:
        words = [str(value) for value in shape.values]
        if isinstance(node, yaml.ScalarNode) and node.value in words:
            return node.value
        near = closest(node.value, words) if isinstance(node, yaml.ScalarNode) else ""
        return self.note(path, f"expected one of {', '.join(words)}; found {_found(node)}{near}", line=line_of(node))

    def _secret(self, node: yaml.Node, path: str) -> object:
        """Problems never show the value."""
        expected = "a secret (text, env:NAME or file:PATH)"
        if not _is_text(node):
            return self._wrong(node, path, expected)
        try:
            secret = Secret.entered(node.value)
        except ValueError as error:
            return self.note(path, str(error), line=line_of(node))
        return secret or self.note(path, f"expected {expected}, found empty text", line=line_of(node))


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


def _as_items(node: yaml.Node, *, one: bool) -> list[yaml.Node] | None:
    """A list, or its short forms: a single item, or comma-separated text."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.ScalarNode) or kind_of(node) == "bool":
        return None
    if kind_of(node) == "null":
        return []
    if one:
        return [node]
    parts = [part.strip() for part in node.value.split(",")]
    if isinstance(node, _ResolvedNode):
        return [_ResolvedNode(part, node) for part in parts if part]
    return [yaml.ScalarNode(scalar(part).tag, part, node.start_mark) for part in parts if part]


def _value(node: yaml.ScalarNode) -> float:
    if len(node.value) > DIGITS_MAX:
        return math.inf
    try:
        if kind_of(node) == "int":
            return int(node.value, 0 if node.value[:2] in ("0x", "0o") else 10)
        return float(node.value)
    except ValueError:  # a tag promised a number
        return math.nan


_KINDS = {  # type of a node, as it precedes the value in a message
    "map": "keys and values",
    "seq": "a list",
    "null": "nothing",
    "bool": "",
    "int": "the number",
    "float": "the number",
    "str": "text",
}


_KNOWN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)


def _kind_in_words(node: yaml.Node) -> str:
    return _KINDS.get(kind_of(node), "something with an unknown tag")


def _is_text(node: yaml.Node) -> TypeGuard[yaml.ScalarNode]:
    """A number is text as written: an app id of digits needs no quotes. So is whatever a reference stands for."""
    if isinstance(node, _ResolvedNode):
        return True
    return isinstance(node, yaml.ScalarNode) and kind_of(node) not in ("null", "bool")


def _shown(text: str) -> str:
    """Text of a document on one line of limited length."""
    text = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
    return text if text.isprintable() else repr(text)[1:-1]


def _found(node: yaml.Node) -> str:
    if isinstance(node, _ResolvedNode):
        return f"what {_shown(node.written)} stands for"
    if not isinstance(node, yaml.ScalarNode) or kind_of(node) == "null":
        return _kind_in_words(node)
    shown = _shown(node.value)
    quoted = f"'{shown}'" if kind_of(node) == "str" else shown
    return f"{_kind_in_words(node)} {quoted}".strip()


def _bounds(shape: shapes.IntType | shapes.FloatType) -> str:
    if shape.ge is not None and shape.le is not None:
        return f" from {shape.ge} to {shape.le}"
    return f" of at least {shape.ge}" if shape.ge is not None else ""


def _within(value: float, shape: shapes.IntType | shapes.FloatType) -> bool:
    above = shape.ge is None or value >= shape.ge
    return math.isfinite(value) and above and (shape.le is None or value <= shape.le)
