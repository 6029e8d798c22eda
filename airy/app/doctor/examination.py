"""Decides all checks over gathered facts. A problem that explains others suppresses them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airy.app.doctor.check import Check, Finding, Findings, NotGathered, skipped

Gathered = Mapping[type[Struct], Struct | NotGathered]


class Examined(Struct, frozen=True):
    """A check and what it found."""

    check: Check
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return any(finding.state == "problem" for finding in self.findings)


def examine(checks: Sequence[Check], facts: Gathered) -> list[Examined]:
    results: list[Examined] = []
    causes: dict[str, str] = {}  # check: the check with the problem that explains it, or itself
    for check in checks:
        cause = next((causes[name] for name in check.after if name in causes), None)
        findings = _decide(check, facts.get(check.facts), cause)
        examined = Examined(check, tuple(findings))
        if cause or examined.failed:
            causes[check.name] = cause or check.name
        results.append(examined)
    return results


def _decide(check: Check, facts: Any, cause: str | None) -> Findings:
    if facts is None or isinstance(facts, NotGathered):
        return skipped(facts.reason if facts else "nothing is known")
    return skipped(f"explained by {cause}") if cause else check.decide(facts)


def has_problem(results: Iterable[Examined]) -> bool:
    return any(each.failed for each in results)
