"""What Meta's usage headers ask for: fewer calls before a limit is hit, and none until access returns. Pure.

`X-App-Usage` is about the app, whatever the page; `X-Page-Usage` and `X-Business-Use-Case-Usage` are about one page or
account. Values are percent of what is allowed, and access returns after so many minutes. What cannot be read counts as
absent: a header never changes what became of a message.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from airy.http_client import Response
from airy.sources import payload

APP, PAGE, BUSINESS = "x-app-usage", "x-page-usage", "x-business-use-case-usage"
SHARES = ("call_count", "total_time", "total_cputime")
SLOW_PERCENT = 75.0
SLOW_S_MIN = 0.25
SLOW_S_MAX = 30.0  # at 100 percent
REGAIN_S_MAX = 3_600.0


class Pauses(NamedTuple):
    """How long no call is made, in seconds."""

    account_s: float = 0.0
    app_s: float = 0.0


def pauses(answer: Response) -> Pauses:
    """From 75 percent on, calls slow down; without access, they stop until it returns."""
    account = (_decoded(answer, PAGE), *_entries(_decoded(answer, BUSINESS)))
    slow_s = max(map(_slow_s, account))
    return Pauses(max(slow_s, _regain_s(account)), _slow_s(_decoded(answer, APP)))


def regain_s(answer: Response) -> float:
    """The seconds until access returns; 0 while there is access."""
    return _regain_s(_entries(_decoded(answer, BUSINESS)))


def _slow_s(usage: Mapping[str, object]) -> float:
    percent = max((_number(usage.get(name)) for name in SHARES), default=0.0)
    if percent < SLOW_PERCENT:
        return 0.0
    over = min((percent - SLOW_PERCENT) / (100.0 - SLOW_PERCENT), 1.0)
    return max(SLOW_S_MIN, SLOW_S_MAX * over**2)


def _regain_s(entries: Iterable[Mapping[str, object]]) -> float:
    minutes = max((_number(entry.get("estimated_time_to_regain_access")) for entry in entries), default=0.0)
    return min(minutes * 60.0, REGAIN_S_MAX)


def _entries(usage: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [payload.record(entry) for entries in usage.values() if isinstance(entries, list) for entry in entries]


def _decoded(answer: Response, header: str) -> Mapping[str, object]:
    try:
        return payload.record(msgspec.json.decode(answer.headers.get(header, "{}")))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _number(thing: object) -> float:
    known = isinstance(thing, int | float) and not isinstance(thing, bool) and math.isfinite(thing)
    return max(0.0, float(thing)) if known else 0.0  # type: ignore[arg-type]  # as checked
