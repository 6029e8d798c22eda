"""Edits the text of a configuration file: only the lines of the changed keys change, all others stay byte for byte.

A key that the file has as a comment with its default (`# port: 8080   # 0: any free port`), as the reference does, is
put in the place of that line. The caller parses the result and compares the values: what cannot be edited, such as an
alias, is seen there.
"""

import json
import math
import re
from collections.abc import Sequence

import yaml
from msgspec import Struct

from airy.config_document import kind_of, parse, scalar
from airy.errors import Refused

INDENT = 2  # of new levels

_PLAIN = re.compile(r"[A-Za-z0-9_./:@+*=~-]*[A-Za-z0-9_./@+*=-]")  # needs no quotes, alone and in a list
_INDICATORS = tuple("-?:@*~!&%")


class Edit(Struct, frozen=True):
    """`value` None removes the key. `default`: its plain value in the reference, by which its comment is found."""

    path: tuple[str, ...]
    value: object = None
    default: object = None


def edited(text: str, edits: Sequence[Edit], file: str) -> str:
    """Raises `InvalidConfig` if `text` is no YAML, `Refused` for a place where a key cannot be written."""
    for edit in edits:
        document = _Document(text, file)
        text = document.without(edit.path) if edit.value is None else document.with_value(edit)
    return text


def written(value: object) -> str:
    """A value as it stands in the file, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value) if math.isfinite(value) else json.dumps(str(value))
        case list() | tuple():
            return f"[{', '.join(map(written, value))}]"
    text = str(value)
    plain = _PLAIN.fullmatch(text) and not text.startswith(_INDICATORS) and kind_of(scalar(text)) == "str"
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


class _Document:
    """One text with its nodes."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._root = parse(text, file)

    def with_value(self, edit: Edit) -> str:
        if self._root is None:
            return _ended(self._text) + _block(edit.path, edit.value, 0)
        node, key = self._root, None
        for depth, name in enumerate(edit.path):
            found = _entry(node, name)
            if found is None:
                return self._inserted(node, key, edit, depth)
            key, node = found
        assert key is not None
        return self._replaced(key, node, written(edit.value))

    def without(self, path: tuple[str, ...]) -> str:
        """The text without the lines of a key; as it is if the key is not given."""
        node = self._root
        for name in path[:-1]:
            found = _entry(node, name)
            node = found[1] if found else None
        found = _entry(node, path[-1])
        if found is None or not isinstance(node, yaml.MappingNode):
            return self._text
        key, value = found
        if node.flow_style:
            rest = ", ".join(self._text[k.start_mark.index : self._end(v)] for k, v in node.value if k is not key)
            return f"{self._text[: node.start_mark.index]}{{{rest}}}{self._text[node.end_mark.index :]}"
        start = self._text.rfind("\n", 0, key.start_mark.index) + 1
        return self._text[:start] + self._text[self._line_end(self._end(value)) :]

    # --- where a value is, and where a new one goes

    def _replaced(self, key: yaml.Node, node: yaml.Node, new: str) -> str:
        start, end = node.start_mark.index, self._end(node)
        if start == end:  # nothing was given
            new = f" {new}"
        elif node.start_mark.line > key.start_mark.line and node.start_mark.column <= key.start_mark.column:
            new = " " * INDENT + new  # a list beneath its key
        return self._text[:start] + new + self._text[end:]

    def _inserted(self, parent: yaml.Node, key: yaml.Node | None, edit: Edit, depth: int) -> str:
        """With the keys of the path from `depth` on below `parent`, whose own key is `key`."""
        rest = edit.path[depth:]
        if isinstance(parent, yaml.MappingNode) and parent.flow_style:
            at = parent.start_mark.index + 1
            comma = ", " if parent.value else ""
            return f"{self._text[:at]}{_flow(rest, edit.value)}{comma}{self._text[at:]}"
        begins = self._line_end(key.end_mark.index) if key else 0
        if isinstance(parent, yaml.MappingNode) and parent.value:
            column, ends = parent.value[0][0].start_mark.column, self._line_end(self._end(parent))
        elif kind_of(parent) == "null":
            column, ends = (key.start_mark.column + INDENT, begins) if key else (0, len(self._text))
        else:
            raise Refused(f"cannot write {'.'.join(edit.path)}: what is above it is neither keys and values nor empty")
        if len(rest) == 1 and (commented := self._commented(begins, column, rest[0], edit.default)):
            return _uncommented(self._text, commented, f"{rest[0]}: {written(edit.value)}")
        return _ended(self._text[:ends]) + _block(rest, edit.value, column) + self._text[ends:]

    def _commented(self, begins: int, column: int, key: str, default: object) -> re.Match[str] | None:
        """The line of the section that begins there with the key and its default as a comment."""
        shown = re.escape(_reference(default))
        line = re.compile(rf"^ {{{column}}}# {re.escape(key)}: {shown}(?P<comment> +# .*| *)$", re.MULTILINE)
        outside = re.compile(rf"^ {{0,{column - 1}}}[^ \n]", re.MULTILINE)  # a line of another section
        after = outside.search(self._text, begins) if column else None
        return line.search(self._text, begins, after.start() if after else len(self._text))

    def _end(self, node: yaml.Node) -> int:
        """The index after the last character of a node, without the white space and comments that follow."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        start = node.start_mark.index
        return start + len(self._text[start : node.end_mark.index].rstrip())

    def _line_end(self, index: int) -> int:
        """The beginning of the next line."""
        if index and self._text[index - 1] == "\n":
            return index
        found = self._text.find("\n", index)
        return len(self._text) if found < 0 else found + 1


def _entry(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _block(path: tuple[str, ...], value: object, column: int) -> str:
    *above, last = path
    lines = [f"{' ' * (column + INDENT * depth)}{key}:\n" for depth, key in enumerate(above)]
    return "".join([*lines, f"{' ' * (column + INDENT * len(above))}{last}: {written(value)}\n"])


def _flow(path: tuple[str, ...], value: object) -> str:
    *above, last = path
    return f"{''.join(f'{key}: {{' for key in above)}{last}: {written(value)}{'}' * len(above)}"


def _uncommented(text: str, line: re.Match[str], entry: str) -> str:
    """`entry` in the place of a comment line; a comment behind it keeps its column."""
    indent = line[0][: line[0].index("#")]
    comment = line["comment"].strip()
    new = f"{indent}{entry}"
    if comment:
        new = f"{new:<{len(line[0]) - len(comment) - 1}} {comment}"
    return text[: line.start()] + new + text[line.end() :]


def _reference(default: object) -> str:
    """A default as airy.yaml, the reference, shows it."""
    match default:
        case None:
            return "null"
        case "":
            return '""'
        case bool() | int() | float() | str() | list() | tuple():
            return written(default)
    return "{}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
