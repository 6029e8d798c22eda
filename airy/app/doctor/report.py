"""Formats what the checks found: rows for programs, an aligned list for people, and the page of all checks. Pure."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct

from airy.app.doctor.check import Check, Finding, State
from airy.app.doctor.examination import Examined

GROUPS = {
    "config": "Configuration",
    "machine": "This machine",
    "data": "Data directory",
    "journal": "Journal",
    "store": "Store",
    "http": "HTTP",
    "redis": "Redis",
    "kafka": "Kafka",
    "instance": "Instance",
    "webhooks": "Webhooks",
    "records": "Dead letters",
    "channels": "Channels",
}
SYMBOLS: dict[State, str] = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "·"}
PLAIN_SYMBOLS: dict[State, str] = {"ok": "+", "warning": "!", "problem": "x", "skipped": "-"}
COLOURS: dict[State, str] = {"ok": "32", "warning": "33", "problem": "1;31", "skipped": "2"}
TITLE = "1"
SKIPPED = "Skipped"
CHARS_MIN = 20  # of text in a line, however narrow the terminal is
COUNTED = ("problem", "warning")
STEP = "→"
PLAIN_STEP = "->"


class DoctorRow(Struct, frozen=True):
    """One finding. `text` is a cause, or what is right, or why a check was skipped; `step` what to do next."""

    check: str
    state: State
    text: str
    step: str | None


def rows(results: Sequence[Examined]) -> list[DoctorRow]:
    return [
        DoctorRow(result.check.name, finding.state, finding.text, finding.step or None)
        for result in results
        for finding in result.findings
    ]


def lines(results: Sequence[Examined], *, unicode: bool, coloured: bool, columns: int | None = None) -> list[str]:
    """Groups of checks; skipped ones of a group for the same reason share a line. Groups that were skipped as a whole
    are at the end, and the last line counts the checks. `columns`: where text is wrapped.
    """
    style = _Style(unicode, coloured, max(len(_subject(result)) for result in results), columns)
    shown: list[str] = []
    skipped: dict[str, list[str]] = {}  # groups by the reason
    for group, members in groupby(results, key=lambda result: result.check.group):
        found = list(members)
        reasons = {_skip_reason(result) for result in found}
        if len(reasons) == 1 and (reason := reasons.pop()) is not None:
            skipped.setdefault(reason, []).append(GROUPS[group])
        else:
            shown += [style.title(GROUPS[group]), *_group(found, style), ""]
    if skipped:
        shown.append(style.title(SKIPPED))
        for reason, groups in skipped.items():
            shown += style.wrapped(f"{', '.join(groups)}: {reason}", "  ")
        shown.append("")
    return [*shown, _summary(results)]


class _Style(Struct, frozen=True):
    unicode: bool
    coloured: bool
    width: int  # of a subject
    columns: int | None

    def title(self, text: str) -> str:
        return self._colour(TITLE, text)

    def line(self, state: State, subject: str, text: str) -> list[str]:
        symbol = (SYMBOLS if self.unicode else PLAIN_SYMBOLS)[state]
        first, *rest = self.wrapped(text, " " * (self.width + 6))
        first = f"  {self._colour(COLOURS[state], symbol)} {subject:<{self.width}}  {first.lstrip()}"
        return [first, *rest]

    def step(self, text: str) -> list[str]:
        arrow = STEP if self.unicode else PLAIN_STEP
        first, *rest = self.wrapped(text, " " * (self.width + 7 + len(arrow)))
        return [f"{'':<{self.width + 6}}{self._colour(TITLE, arrow)} {first.lstrip()}", *rest]

    def wrapped(self, text: str, indent: str) -> list[str]:
        if self.columns is None:
            return [indent + text]
        width = max(self.columns, len(indent) + CHARS_MIN)
        return textwrap.wrap(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        )

    def _colour(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured else text


def _group(members: Sequence[Examined], style: _Style) -> list[str]:
    shown: list[str] = []
    for reason, some in groupby(members, key=_skip_reason):
        same = list(some)
        if reason is not None:
            subject = _subject(same[0]) if len(same) == 1 else f"{len(same)} checks"
            shown += style.line("skipped", subject, reason)
            continue
        for result in same:
            subject = _subject(result)
            for finding in result.findings:
                shown += style.line(finding.state, subject, finding.text)
                shown += style.step(finding.step) if finding.step else []
                subject = ""
    return shown


def _skip_reason(result: Examined) -> str | None:
    first: Finding = result.findings[0]
    return first.text if first.state == "skipped" else None


def _subject(result: Examined) -> str:
    return result.check.name.partition(".")[2].replace("-", " ")


def _summary(results: Sequence[Examined]) -> str:
    counts: Counter[State] = Counter(_worst(result) for result in results)
    states: tuple[State, ...] = ("problem", "warning", "ok", "skipped")
    parts = [
        f"{counts[state]} {state}{'s' if state in COUNTED and counts[state] > 1 else ''}"
        for state in states
        if counts[state]
    ]
    return f"{len(results)} checks: {', '.join(parts)}"


def _worst(result: Examined) -> State:
    states = {finding.state for finding in result.findings}
    return next(state for state in ("problem", "warning", "skipped", "ok") if state in states)


def table(checks: Sequence[Check]) -> str:
    """All checks as a table of the documentation."""
    rows_ = [f"| `{check.name}` | {check.finds} | {_after(check)} |".replace("|  |", "| |") for check in checks]
    return "\n".join(["| check | finds | explained by |", "|---|---|---|", *rows_])


def _after(check: Check) -> str:
    return ", ".join(f"`{name}`" for name in check.after)
