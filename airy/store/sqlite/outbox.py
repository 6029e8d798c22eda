"""The changes that facts made, kept until everybody who acts on them has passed.

Facts of one partition that were folded together share a row: a change is a kilobyte, and few rows that fill their pages
cost a fraction of one row per change. Which facts share a row says nothing and is never seen outside.
"""

from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from airy.bus.record import Position, TopicPartition
from airy.model.change import Change
from airy.store.api import Published
from airy.store.sqlite.schema import OFFSET_END, TOPIC_INDEX, place

GROUP_FACTS_MAX = 32

Group = list[tuple[int, tuple[Change, ...], str]]  # by offset, with the trace
Changes = dict[TopicPartition, Group]

INSERT = "INSERT INTO changes(first, last, total, body) VALUES(?, ?, ?, ?)"
_REWRITE = "UPDATE changes SET first = ?, total = ?, body = ? WHERE n = ?"
_HOLDING = "SELECT first FROM changes WHERE first >= ? AND first <= ? ORDER BY first DESC LIMIT 1"
_FROM = "SELECT body FROM changes WHERE first >= ? AND first < ? ORDER BY first"
_BELOW = "SELECT n, last, total, body FROM changes WHERE first >= ? AND first < ? ORDER BY first LIMIT ?"
_DROP = "DELETE FROM changes WHERE n = ?"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Group).decode


def rows(changes: Changes) -> list[tuple[int, int, int, bytes]]:
    """For `INSERT`."""
    made = []
    for where, facts in changes.items():
        topic = TOPIC_INDEX[where.topic]
        for start in range(0, len(facts), GROUP_FACTS_MAX):
            group = facts[start : start + GROUP_FACTS_MAX]
            first, last = place(topic, where.partition, group[0][0]), place(topic, where.partition, group[-1][0])
            made.append((first, last, _total(group), _encode(group)))
    return made


def _total(group: Group) -> int:
    return sum(len(changes) for _, changes, _ in group)


def changes_in(body: bytes) -> Iterator[Change]:
    return (change for _, changes, _ in _decode(body) for change in changes)


def read(
    connection: apsw.Connection, where: TopicPartition, after: tuple[int, int], changes_max: int
) -> list[Published]:
    """Changes with (offset, nth) greater than `after`."""
    start = place(TOPIC_INDEX[where.topic], where.partition, 0)
    wanted = start + min(max(after[0], 0), OFFSET_END - 1)
    first = connection.execute(_HOLDING, (start, wanted)).get
    found: list[Published] = []
    groups = connection.execute(_FROM, (wanted if first is None else first, start + OFFSET_END))
    for (body,) in groups:
        for offset, changes, trace in _decode(body):
            if offset < after[0]:
                continue
            position = Position(where.topic, where.partition, offset)
            found += [
                Published(position, nth, change, trace) for nth, change in enumerate(changes) if (offset, nth) > after
            ]
        if len(found) >= changes_max:
            break
    groups.close()  # a statement that is not at its end holds its snapshot
    return found[:changes_max]


def forget(connection: apsw.Connection, where: TopicPartition, below: int, groups_max: int) -> tuple[int, bool]:
    """Drop what facts before `below` changed, looking at so many rows at most.

    Returns how many changes went, and whether there may be more.
    """
    topic = TOPIC_INDEX[where.topic]
    start = place(topic, where.partition, 0)
    end = start + min(max(below, 0), OFFSET_END)
    found: list[Any] = connection.execute(_BELOW, (start, end, groups_max)).fetchall()
    gone = 0
    for n, last, total, body in found:
        if last < end:
            connection.execute(_DROP, (n,))
            gone += total
        else:
            kept = [fact for fact in _decode(body) if fact[0] >= below]
            connection.execute(_REWRITE, (place(topic, where.partition, kept[0][0]), _total(kept), _encode(kept), n))
            gone += total - _total(kept)
    return gone, len(found) == groups_max
