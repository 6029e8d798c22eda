"""Parses a YAML document into nodes with lines. Every text is a document or has one problem (`InvalidConfig`).

YAML is read by version 1.2 (only `true` and `false` are booleans; no sexagesimal numbers, no dates), so `name: no` is
text. Nesting is bounded here and aliases stay shared nodes, so that neither can make reading expensive.
"""

import re
from collections.abc import Sequence

import yaml
from msgspec import Struct

from airy.errors import Refused

DEPTH_MAX = 32  # levels of nesting
_TAGS = "tag:yaml.org,2002:"
_REASONS = {  # PyYAML's words, which lack their context or show a part of the document
    "second occurrence": "an anchor is given twice",
    "found undefined alias": "an alias is undefined: quote text that begins with *",
}


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


class _Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2's core schema and bounded nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth >= DEPTH_MAX:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"it nests deeper than {DEPTH_MAX} levels", mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.yaml_implicit_resolvers = {}
_SCALARS = (  # tag, pattern, possible first characters
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
)
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"{_TAGS}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str, file: str) -> yaml.Node | None:
    """The document's nodes; None if it is empty. Raises `InvalidConfig` unless it is one YAML document."""
    line = None
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        except (ValueError, OverflowError):  # an escape beyond Unicode
            line, reason = loader.line + 1, "it has an escape that is no character"
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        reason = error.problem or error.context or "unreadable"
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"{ord(text[error.position]):#06x} is not a character of UTF-8 text"
    reason = _REASONS.get(reason.partition(" '")[0], reason)
    raise InvalidConfig([ConfigProblem(file, line, "", f"not YAML: {reason}")])


def scalar(text: str) -> yaml.ScalarNode:
    """Text from outside the document (an environment variable, a comma-separated list) as a node."""
    tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return yaml.ScalarNode(tag, text)


def kind_of(node: yaml.Node) -> str:
    """The last part of the node's tag: `str`, `int`, `map`, …"""
    return str(node.tag).rpartition(":")[2]


def line_of(node: yaml.Node) -> int | None:
    return node.start_mark.line + 1 if node.start_mark else None
