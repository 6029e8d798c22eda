"""Checks of a running instance. Pure."""

import re
from collections.abc import Sequence

from airy import __version__
from airy.app.doctor.check import Findings, each, ok, problem, skipped, warning
from airy.app.doctor.instance_facts import InstanceFacts, ProcessView

SKEW_S_WANTED, SKEW_S_MAX = 5.0, 60.0
LAG_S_WANTED, LAG_S_MAX = 60.0, 600.0
FOLD_S_WANTED = 30.0
LOOP_DELAY_S_WANTED = 1.0
NAMES_MAX = 3  # in one sentence
_GROUP_AGE = re.compile(r'airy_consumer_age_seconds\{.*?group="([^"]+)"')
NTP = "synchronise both clocks: timedatectl set-ntp true"


def reachable(facts: InstanceFacts) -> Findings:
    if facts.failure:
        return problem(f"no instance answers at {facts.url}: {facts.failure}", "start it (`airy up`), or correct --url")
    return ok(f"{facts.url} answers")


def token(facts: InstanceFacts) -> Findings:
    match facts.token:
        case "accepted":
            return ok("accepted")
        case "missing":
            return problem(
                f"{facts.url} wants a token and none is known here",
                "pass --token, or --data with the data directory of the instance",
            )
        case "unreadable":
            return problem(facts.token_problem, "correct it, or pass --token")
        case "exposed":
            return skipped("not read, because others can read its file: see data.secrets")
        case "refused":
            return problem(
                f"{facts.url} refuses the token",
                "pass the token of that instance with --token (AIRY_TOKEN); `airy token list` shows expired ones",
            )
    return skipped("this process serves nothing that needs a token")


def version(facts: InstanceFacts) -> Findings:
    versions = {facts.version, *(process.version for process in _live(facts))} - {""}
    other = sorted(versions - {__version__})
    if len(versions) > 1:
        return warning(
            f"processes run versions {', '.join(sorted(versions))}", "finish the upgrade: restart the older processes"
        )
    if other:
        return warning(
            f"the instance runs {other[0]} and this command is {__version__}",
            f"use the command of the instance, or restart it with {__version__}",
        )
    return ok(__version__)


def clock(facts: InstanceFacts) -> Findings:
    return skew("the instance", facts.skew_ms)


def skew(clock: str, ahead_ms: int | None) -> Findings:
    """Also of Redis."""
    if ahead_ms is None:
        return skipped(f"{clock} does not tell its time")
    ahead_s = ahead_ms / 1000
    words = f"the clock of {clock} is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the one here"
    if abs(ahead_s) > SKEW_S_MAX:
        return problem(words, NTP)
    return warning(words, NTP) if abs(ahead_s) > SKEW_S_WANTED else ok(f"within {SKEW_S_WANTED:g} s")


def configuration(facts: InstanceFacts) -> Findings:
    if facts.plan is None:
        return unread("settings")
    change = facts.last_change
    if change is not None and change.state == "reverted":
        return warning(
            f"the change of the configuration at {change.at} was taken back: {change.problem}",
            "correct that value and apply it again",
        )
    if paths := [each_.path for each_ in facts.plan.differences]:
        return warning(
            f"the process runs with other settings than its file has: {names(paths)}",
            "restart it, or apply the file: airy console --write --open config",
        )
    return ok("the process runs with the settings of its file")


def ready(facts: InstanceFacts) -> Findings:
    return each(
        (
            problem(f"{name} is not ready: {reason}", f"correct the reason; `airy status --url {facts.url}` shows more")
            for name, reason in facts.waiting_for.items()
        ),
        "every component of this process is ready",
    )


def components(facts: InstanceFacts) -> Findings:
    if facts.components is None:
        return unread("processes")
    return each(
        (
            problem(f"no ready process runs {name}", f"start one: airy run {name}")
            for name, count in sorted(facts.components.items())
            if not count.ready
        ),
        f"{len(facts.components)} have a ready process",
    )


def processes(facts: InstanceFacts) -> Findings:
    if facts.processes is None:
        return unread("processes")
    return each(
        (
            warning(
                f"process {one.instance} has sent no heartbeat for {one.age_s:,.0f} s", "start it again, or ignore it"
            )
            for one in facts.processes
            if one.stale
        ),
        f"{len(facts.processes)} send heartbeats",
    )


def held(facts: InstanceFacts) -> Findings:
    count = total(facts, "airy_partitions_held")
    if count is None:
        return unread("metrics")
    if count:
        return problem(
            f"{count:.0f} partitions are not folded any further: their records are of a newer version",
            "upgrade this process to the newest version in the fleet",
        )
    return ok("every partition is folded")


def fleet(facts: InstanceFacts) -> Findings:
    """Processes besides the one that was asked, which is ready. The others do their work, so it is a warning."""
    if facts.processes is None:
        return unread("processes")
    if len(_live(facts)) == 1:
        return ok("no other process")
    return each(
        (
            warning(f"{name} of process {one.instance} is not ready: {reason}", "correct the reason; see `airy status`")
            for one in _live(facts)
            for name, reason in one.waiting_for.items()
        ),
        f"{len(_live(facts))} are ready",
    )


def fold(facts: InstanceFacts) -> Findings:
    lag, age_s = total(facts, "airy_fold_lag"), total(facts, "airy_fold_age_seconds")
    if lag is None or age_s is None:
        return unread("metrics")
    stores = {one.instance: (one.fold.lag, one.fold.age_s) for one in _live(facts)} or {"": (round(lag), age_s)}
    return each(
        (_behind(name, *behind) for name, behind in stores.items() if behind[0] and behind[1] > FOLD_S_WANTED),
        f"{max(lag for lag, _ in stores.values()):,} records behind the log",
    )


def _behind(process: str, lag: int, age_s: float) -> Findings:
    return warning(
        f"the store{f' of process {process}' if process else ''} is {lag:,} records ({age_s:,.0f} s) behind the log",
        "wait if it was just started; else look at its processor and disk, and at its log",
    )


def lag(facts: InstanceFacts) -> Findings:
    if facts.metrics is None:
        return unread("metrics")
    ages: dict[str, float] = {}
    for name, age_s in facts.metrics.items():
        if found := _GROUP_AGE.match(name):
            ages[found[1]] = max(age_s, ages.get(found[1], 0.0))
    return each(
        (_late(group, age_s) for group, age_s in sorted(ages.items()) if age_s > LAG_S_WANTED),
        f"no consumer group is more than {LAG_S_WANTED:g} s behind",
    )


def _late(group: str, age_s: float) -> Findings:
    say = problem if age_s > LAG_S_MAX else warning
    return say(
        f"consumer group {group} is {age_s:,.0f} s behind",
        "`airy status` shows which component waits; add a process of it if it is busy",
    )


def event_loop(facts: InstanceFacts) -> Findings:
    delay_s = total(facts, "airy_event_loop_delay_seconds")
    if delay_s is None:
        return unread("metrics")
    if delay_s > LOOP_DELAY_S_WANTED:
        return warning(
            f"the event loop was blocked for {delay_s:.1f} s in the last minute", "give the process more processor time"
        )
    return ok(f"at most {delay_s:.2f} s late")


def bugs(facts: InstanceFacts) -> Findings:
    count = total(facts, "airy_bugs_total")
    if count is None:
        return unread("metrics")
    if count:
        return warning(
            f"{count:.0f} unexpected errors ended a delivery, send, look-up or check",
            "report them with the log lines that end in _unexpectedly",
        )
    return ok("none")


# --- small


def names(all_names: Sequence[str]) -> str:
    """The first ones, and how many more."""
    shown = ", ".join(all_names[:NAMES_MAX])
    return shown if len(all_names) <= NAMES_MAX else f"{shown} and {len(all_names) - NAMES_MAX} more"


def _live(facts: InstanceFacts) -> list[ProcessView]:
    return [one for one in facts.processes or () if not one.stale]


def unread(what: str) -> Findings:
    return skipped(f"the instance does not show its {what} to this token")


def total(facts: InstanceFacts, name: str) -> float | None:
    """Of all samples of a metric; None if there is none."""
    metrics = facts.metrics or {}
    found = [value for sample, value in metrics.items() if sample.partition("{")[0] == name]
    return sum(found) if found else None
