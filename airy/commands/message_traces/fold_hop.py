"""The hop of the fold: which processes have folded the record that created a message. Pure."""

from collections.abc import Callable

from airy.bus.record import Position
from airy.commands.message_traces.hop import Hop
from airy.model.fleet import FleetStatus, ProcessInfo
from airy.recent_times import FoldedBatch

ReadFleet = Callable[[], FleetStatus]


def fold_hop(position: Position, record_ms: int | None, fleet: FleetStatus, batch: FoldedBatch | None) -> Hop:
    """The process that answers has folded it, because it found the message; of the others, their heartbeats tell.

    `record_ms`: the time of the record; a heartbeat before it says nothing about it. `batch`: the one of the process
    that answers, with the time at which it had read the record.
    """
    processes = [(each, folded_by(each, position, record_ms)) for each in fleet.processes if not each.stale]
    return Hop(
        kind="fold",
        outcome="waiting" if any(folded is False for _, folded in processes) else "folded",
        at_ms=batch.fetched_ms if batch else None,
        position=position,
        caused_by=position.offset,
        detail={
            "processes": [
                {
                    "instance": each.status.instance,
                    "next_offset": _next_offset(each, position),
                    "folded": folded,
                    "heartbeat_age_s": round(each.age_s, 3),
                }
                for each, folded in processes
            ]
        },
    )


def folded_by(process: ProcessInfo, position: Position, record_ms: int | None) -> bool | None:
    """None: its last heartbeat does not tell."""
    next_offset = _next_offset(process, position)
    if next_offset is None:
        return None
    if next_offset > position.offset:
        return True
    return None if record_ms is None or process.status.at_ms <= record_ms else False


def _next_offset(process: ProcessInfo, position: Position) -> int | None:
    folded = process.status.folded
    return folded[position.partition] if position.partition < len(folded) else None
