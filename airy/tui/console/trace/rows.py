"""What the view of a trace shows, from what the API says. Pure."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import msgspec
from msgspec import Raw, Struct

from airy.tui.console import format as shown
from airy.tui.view_model import clean, message_row, state_words

BAR_CELLS = 8
EIGHTHS = " ▏▎▍▌▋▊▉"
SYMBOLS: dict[str, tuple[str, str]] = {  # by kind, or its part before the dot: symbol and style
    "webhook": ("⇣", "$accent"),
    "message": ("◆", "$primary"),
    "send": ("↑", "$secondary"),
    "receipt": ("✓", "$success"),
    "fold": ("≡", "$foreground-muted"),
    "store": ("▤", "$foreground-muted"),
    "events": ("⇶", "$foreground-muted"),
    "webhooks": ("⇉", "$foreground-muted"),
    "delivery": ("⇢", "$success"),
    "delivery.waiting": ("…", "$warning"),
    "delivery.dead": ("✗", "$error"),
    "send.failed": ("✗", "$error"),
    "send.unknown": ("?", "$warning"),
}
OTHER = ("·", "$foreground-muted")
OUTCOME_STYLES = {
    "stored": "$foreground-muted",
    "folded": "$success",
    "committed": "$success",
    "broadcast": "$success",
    "queued": "$success",
    "delivered": "$success",
    "waiting": "$warning",
    "unknown": "$warning",
    "retry": "$warning",
    "replayed": "$warning",
    "dead": "$error",
    "disabled": "$error",
    "failed": "$error",
    "beyond_retention": "$warning",
    "unreadable": "$error",
}


class TracedHop(Struct, frozen=True):
    """A hop as `messages.trace` gives it."""

    kind: str
    outcome: str = ""
    at: str | None = None
    since_previous_ms: int | None = None
    took_ms: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    detail: dict[str, Any] = {}


class TracedMessage(Struct, frozen=True):
    """The answer of `messages.trace`; the message stays encoded."""

    message: Raw
    conversation_id: str
    channel_id: str = ""
    complete: bool = True
    hops: list[TracedHop] = []

    @property
    def message_id(self) -> str:
        return message_row(self.message).id


class HopRow(Struct, frozen=True):
    """A line of the timeline."""

    rail: str
    style: str
    name: str
    at: str
    since: str
    bar: str
    outcome: str
    outcome_style: str
    said: str
    place: str


def reference(text: str) -> dict[str, str]:
    """The body of the request for what was entered: an id, and after a space the source or the channel's id."""
    wanted, _, narrowed = text.strip().partition(" ")
    narrowed = narrowed.strip()
    if not narrowed:
        return {"id": wanted}
    is_channel = len(narrowed) == 36 and narrowed.count("-") == 4
    return {"id": wanted, ("channel_id" if is_channel else "source"): narrowed}


def hop_rows(trace: TracedMessage) -> list[HopRow]:
    longest = max((each.since_previous_ms or 0 for each in trace.hops), default=0)
    last = len(trace.hops) - 1
    return [_row(each, _rail(number, last), longest) for number, each in enumerate(trace.hops)]


def _rail(number: int, last: int) -> str:
    return "──" if last == 0 else "╭─" if number == 0 else "╰─" if number == last else "├─"


def _row(hop: TracedHop, rail: str, longest_ms: int) -> HopRow:
    symbol, style = SYMBOLS.get(hop.kind) or SYMBOLS.get(hop.kind.partition(".")[0], OTHER)
    style = OUTCOME_STYLES[hop.outcome] if hop.kind == "delivery.attempt" and hop.outcome in OUTCOME_STYLES else style
    since_ms = hop.since_previous_ms
    return HopRow(
        rail=f"{rail}{symbol}",
        style=style,
        name=clean(hop.kind.replace("_", " ")),
        at=shown.milliseconds_of_day(hop.at) if hop.at else "",
        since="" if since_ms is None else shown.duration(since_ms / 1000),
        bar=bar(since_ms or 0, longest_ms),
        outcome=clean(hop.outcome.replace("_", " ")),
        outcome_style=OUTCOME_STYLES.get(hop.outcome, ""),
        said=said(hop),
        place=place(hop),
    )


def bar(value: int, longest: int) -> str:
    """`value` of `longest` as a bar of at most `BAR_CELLS`, in eighths of a cell; at least one for a value above 0."""
    if value <= 0 or longest <= 0:
        return ""
    eighths = max(1, round(value / longest * BAR_CELLS * 8))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def place(hop: TracedHop) -> str:
    """`facebook.events 3@1204`; empty of a hop that is not in the log."""
    if hop.topic is None:
        return ""
    topic = reduce(str.removeprefix, ("application.communication.", "source.", "ops."), hop.topic)
    return f"{topic} {hop.partition}@{hop.offset}"


def said(hop: TracedHop) -> str:
    """What a person wants to know of a hop, in a few words."""
    words = WORDS.get(hop.kind)
    if words is None:
        return ""
    value = hop.detail.get("value")
    return clean(words({**hop.detail, **(value if isinstance(value, dict) else {}), "took_ms": hop.took_ms}))


def _attempt(known: dict[str, Any]) -> str:
    answer = known.get("status") or known.get("error") or "no answer"
    webhook = known.get("webhook") or known.get("webhook_id")
    number = known.get("attempt")
    again = f", attempt {number}" if number != 1 else ""
    return f"{answer} in {known.get('took_ms')} ms, {webhook}, {known.get('event')}{again}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _store(known: dict[str, Any]) -> str:
    if reason := known.get("reason"):
        return str(reason)
    return f"in {known.get('took_ms')} ms with {_count(int(known.get('records') or 0), 'record')}"


def _broadcast(known: dict[str, Any]) -> str:
    if reason := known.get("reason"):
        return str(reason)
    cut = known.get("cut")
    return f"to {_count(int(known.get('subscribers') or 0), 'subscriber') or 'no subscriber'}" + (
        f", {cut} cut" if cut else ""
    )


def _processes(processes: object) -> str:
    """How many of the processes have folded it."""
    known = [each for each in processes if isinstance(each, dict)] if isinstance(processes, list) else []
    behind = [str(each.get("instance")) for each in known if each.get("folded") is False]
    if behind:
        return clean(f"for {', '.join(behind)}")
    return f"by {len(known)} processes" if len(known) > 1 else ""


WORDS: dict[str, Callable[[dict[str, Any]], str]] = {  # by kind, of a detail with the fact and the duration in it
    "fold": lambda known: _processes(known.get("processes")),
    "webhook.received": lambda known: f"account {known.get('key')}, {shown.size(known.get('size_bytes') or 0)}",
    "message.queued": lambda known: f"by {known.get('sender_id')}",
    "message.deferred": lambda known: f"by {known.get('sender_id')}",
    "send.started": lambda known: f"attempt {known.get('attempt')} by {str(known.get('worker'))[:8]}",
    "send.succeeded": lambda known: f"attempt {known.get('attempt')}: {known.get('provider_id')}",
    "send.failed": lambda known: f"attempt {known.get('attempt')}, {known.get('error_kind')}: {known.get('error')}",
    "send.unknown": lambda known: f"attempt {known.get('attempt')}: {known.get('reason')}",
    "store": _store,
    "events.broadcast": _broadcast,
    "webhooks.queued": lambda known: _count(len(known.get("changes") or ()), "change"),
    "delivery.attempt": _attempt,
    "delivery.waiting": lambda known: f"{known.get('event')} for {known.get('webhook') or known.get('webhook_id')}",
    "delivery.dead": lambda known: f"{known.get('webhook') or known.get('webhook_id')}: {known.get('reason')}",
    "receipt.reported": lambda known: str(known.get("state")),
}


def title(trace: TracedMessage) -> tuple[str, str]:
    """The message in a line, and its ids with what the trace spans."""
    row = message_row(trace.message)
    source = msgspec.json.decode(trace.message, type=_Source).source
    state = "" if row.inbound else f"  {state_words(row)}"
    said = f"{'→' if row.inbound else '←'} {row.text}  {clean(source)}{state}"
    times = [moment for each in trace.hops if each.at and (moment := shown.instant(each.at))]
    span = shown.duration((max(times) - min(times)).total_seconds()) if times else "-"
    whole = "" if trace.complete else ", not complete"
    return said, f"{row.id} · {len(trace.hops)} hops in {span}{whole} · conversation {clean(trace.conversation_id)}"


class _Source(Struct, frozen=True):
    source: str = ""
