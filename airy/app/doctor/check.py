"""A check as a value: a pure decision over facts that were gathered for it. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct

from airy.tui.view_model import clean

CHARS_MAX = 400  # of a text
FINDINGS_MAX = 5  # of one check; the rest are counted

State = Literal["ok", "warning", "problem", "skipped"]
F = TypeVar("F")


class Finding(Struct, frozen=True):
    """What a check found. `step`: the command to run or the key to change, one line; empty where nothing is to do."""

    state: State
    text: str
    step: str = ""


Findings = Sequence[Finding]
"""At least one."""


class NotGathered(Struct, frozen=True):
    """Why there are no facts, for example because nothing is configured that they would be about."""

    reason: str


class Check(Struct, frozen=True):
    """`facts`: the type of facts `decide` takes. `after`: checks whose problems explain what this one would find."""

    name: str  # group.subject
    finds: str  # for the documentation
    facts: type[Struct]
    decide: Callable[[Any], Findings]
    after: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


def ok(text: str) -> Findings:
    return _found("ok", text)


def warning(cause: str, step: str) -> Findings:
    return _found("warning", cause, step)


def problem(cause: str, step: str) -> Findings:
    return _found("problem", cause, step)


def skipped(reason: str) -> Findings:
    return _found("skipped", reason)


def _found(state: State, text: str, step: str = "") -> Findings:
    """On one line each: texts of servers and names of channels may hold anything."""
    return (Finding(state, clean(text, CHARS_MAX), clean(step, CHARS_MAX)),)


def each(findings: Iterable[Findings], otherwise: str) -> Findings:
    """All findings, at most `FINDINGS_MAX`; `otherwise` is what is right if there are none."""
    found = [one for some in findings for one in some]
    found.sort(key=lambda one: one.state != "problem")
    rest = found[FINDINGS_MAX:]
    if rest:
        found[FINDINGS_MAX:] = [Finding(rest[0].state, f"and {len(rest)} more of this kind", rest[0].step)]
    return found or ok(otherwise)
