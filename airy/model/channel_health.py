"""What is known of a channel's account at its provider, in the metadata of the channel. Pure.

`health.state` is `ok` or `failing` since `health.since`, for `health.reason`; `health.repaired` says what was put right
last, at `health.repaired_at`. A channel without these keys has not failed. `credentials_expire_at` is when the
provider stops taking the channel's credentials. Times are written as in the API.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Raw

from airy.model import metadata
from airy.model.entity import Channel
from airy.model.render import timestamp

STATE, SINCE, REASON = "health.state", "health.since", "health.reason"
REPAIRED, REPAIRED_AT = "health.repaired", "health.repaired_at"
EXPIRE_AT = "credentials_expire_at"
KEYS = frozenset({STATE, SINCE, REASON, REPAIRED, REPAIRED_AT, EXPIRE_AT})


def is_failing(channel: Channel) -> bool:
    return metadata.text(channel.metadata, STATE) == "failing"


def expire_at_ms(channel: Channel) -> int | None:
    """None: the credentials do not expire, or it is not known when."""
    written = metadata.text(channel.metadata, EXPIRE_AT)
    try:
        return None if written is None else round(datetime.fromisoformat(written).timestamp() * 1000)
    except ValueError:
        return None


def expiry(valid_s: float | None, now_ms: int) -> dict[str, Raw]:
    """The metadata of credentials that are valid for so long from now on."""
    if valid_s is None:
        return {}
    return {EXPIRE_AT: metadata.value(timestamp(now_ms + round(valid_s * 1000)))}


def after_check(known: Mapping[str, Raw], *, problem: str, repaired: str, now_ms: int) -> dict[str, Raw]:
    """The metadata after a check, equal to `known` if nothing changed."""
    after = dict(known)
    state, now = "failing" if problem else "ok", metadata.value(timestamp(now_ms))
    before = metadata.text(known, STATE) or "ok"
    if state != before:
        after |= {STATE: metadata.value(state), SINCE: now}
    if problem:
        after[REASON] = metadata.value(problem)
    else:
        after.pop(REASON, None)
    if repaired:
        after |= {REPAIRED: metadata.value(repaired), REPAIRED_AT: now}
    return after


def forgotten(known: Mapping[str, Raw]) -> dict[str, Raw]:
    """The metadata of a channel that is connected anew: what was known of the old credentials is gone."""
    return {key: content for key, content in known.items() if key not in KEYS}
