"""The outbox: changes committed with the facts that caused them, kept until every reader has passed them.

Facts of one partition that were folded together share a row: a change is about a kilobyte, and few rows that fill their
pages cost a fraction of one row per change. The grouping has no meaning and is not visible outside.
"""

from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from airy.bus.record import Position, TopicPartition
from airy.model.change import Change
from airy.store.api import StoredChange
from airy.store.sqlite.schema import OFFSET_END, TOPIC_INDEX, position_key

GROUP_FACTS_MAX = 32

Group = list[tuple[int, tuple[Change, ...], str]]  # offset, changes, traceparent
Changes = dict[TopicPartition, Group]

INSERT = "INSERT INTO changes(first, last, total, body) VALUES(?, ?, ?, ?)"
_REWRITE = "UPDATE changes SET first = ?, total = ?, body = ? WHERE n = ?"
_GROUP_WITH = "SELECT first FROM changes WHERE first >= ? AND first <= ? ORDER BY first DESC LIMIT 1"
_FROM = "SELECT body FROM changes WHERE first >= ? AND first < ? ORDER BY first"
_BELOW = "SELECT n, last, total, body FROM changes WHERE first >= ? AND first < ? ORDER BY first LIMIT ?"
_DROP = "DELETE FROM changes WHERE n = ?"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Group).decode


def rows(changes: Changes) -> list[tuple[int, int, int, bytes]]:
    """Rows for `INSERT`."""
    encoded = []
    for tp, facts in changes.items():
        topic = TOPIC_INDEX[tp.topic]
        for start in range(0, len(facts), GROUP_FACTS_MAX):
            group = facts[start : start + GROUP_FACTS_MAX]
            first, last = (
                position_key(topic, tp.partition, group[0][0]),
                position_key(topic, tp.partition, group[-1][0]),
            )
            encoded.append((first, last, _total(group), _encode(group)))
    return encoded


def _total(group: Group) -> int:
    return sum(len(changes) for _, changes, _ in group)


def changes_in(body: bytes) -> Iterator[Change]:
    return (change for _, changes, _ in _decode(body) for change in changes)


def read(
    connection: apsw.Connection, tp: TopicPartition, after: tuple[int, int], changes_max: int
) -> list[StoredChange]:
    """Changes with (offset, nth) greater than `after`."""
    start = position_key(TOPIC_INDEX[tp.topic], tp.partition, 0)
    wanted = start + min(max(after[0], 0), OFFSET_END - 1)
    first = connection.execute(_GROUP_WITH, (start, wanted)).get
    found: list[StoredChange] = []
    groups = connection.execute(_FROM, (wanted if first is None else first, start + OFFSET_END))
    for (body,) in groups:
        for offset, changes, trace in _decode(body):
            if offset < after[0]:
                continue
            position = Position(tp.topic, tp.partition, offset)
            found += [
                StoredChange(position, nth, change, trace)
                for nth, change in enumerate(changes)
                if (offset, nth) > after
            ]
        if len(found) >= changes_max:
            break
    groups.close()  # an unfinished statement holds its snapshot
    return found[:changes_max]


def prune(connection: apsw.Connection, tp: TopicPartition, below: int, groups_max: int) -> tuple[int, bool]:
    """Delete changes of facts below offset `below`, in at most `groups_max` rows.

    Returns how many changes were deleted, and whether there may be more.
    """
    topic = TOPIC_INDEX[tp.topic]
    start = position_key(topic, tp.partition, 0)
    end = start + min(max(below, 0), OFFSET_END)
    found: list[Any] = connection.execute(_BELOW, (start, end, groups_max)).fetchall()
    pruned = 0
    for n, last, total, body in found:
        if last < end:
            connection.execute(_DROP, (n,))
            pruned += total
        else:
            kept = [fact for fact in _decode(body) if fact[0] >= below]
            connection.execute(
                _REWRITE, (position_key(topic, tp.partition, kept[0][0]), _total(kept), _encode(kept), n)
            )
            pruned += total - _total(kept)
    return pruned, len(found) == groups_max
