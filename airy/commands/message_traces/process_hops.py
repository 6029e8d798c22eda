"""The hops within the process that answers: its fold, its store, and the subscribers of its events. Pure.

Their times are kept in memory. Where there is none, `detail.reason` says why.
"""

from collections.abc import Callable

from msgspec import Struct

from airy.bus.record import Position
from airy.commands.message_traces.hop import Hop
from airy.recent_times import BATCHES_MAX, BROADCASTS_MAX, Broadcast, BroadcastTimes, FoldedBatch, FoldTimes


class ProcessTimes(Struct, frozen=True):
    """Of the process that answers. `instance`: its name in the fleet."""

    fold: FoldTimes
    broadcasts: BroadcastTimes
    instance: Callable[[], str] = str


def store_hop(position: Position, times: ProcessTimes, batch: FoldedBatch | None) -> Hop:
    """The transaction that wrote the message: of the whole batch, from its first record to the commit."""
    detail: dict[str, object] = {"instance": times.instance()}
    if batch is None:
        detail["reason"] = _forgotten(f"the last {BATCHES_MAX:,} batches", forgets=times.fold.forgets)
        return Hop(kind="store", outcome="committed", position=position, detail=detail, caused_by=position.offset)
    detail["records"] = batch.records
    return Hop(
        kind="store",
        outcome="committed",
        at_ms=batch.stored_ms,
        position=position,
        took_ms=max(0, batch.stored_ms - batch.fetched_ms),
        detail=detail,
        caused_by=position.offset,
    )


def broadcast_hop(position: Position, times: ProcessTimes) -> Hop:
    """The changes handed to the clients that followed the events of this process."""
    found: Broadcast | None = times.broadcasts.find(position)
    detail: dict[str, object] = {"instance": times.instance()}
    if found is None:
        detail["reason"] = _forgotten(f"the last {BROADCASTS_MAX:,} records", forgets=times.broadcasts.forgets)
    else:
        detail |= {"subscribers": found.subscribers, "cut": found.cut}
    return Hop(
        kind="events.broadcast",
        outcome="unknown" if found is None else "broadcast",
        at_ms=None if found is None else found.at_ms,
        position=position,
        detail=detail,
        caused_by=position.offset,
    )


def _forgotten(kept: str, *, forgets: bool) -> str:
    return f"times are kept of {kept} only" if forgets else "it was before this process started"
