"""A cursor is one offset for all partitions of a topic, and the partitions that are ahead of it."""

from typing import Any

import pytest

from airy.bus import OffsetOutOfRange, Record, Topic
from airy.bus.memory.cursor import Cursor
from airy.bus.memory.log import Log

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=3, retention="kept")


def make_log(*partitions: int) -> Log:
    """One record in each of these partitions, at offsets 0, 1, 2 …"""
    log = Log(TOPIC)
    for offset, partition in enumerate(partitions):
        log.append([Record("facts", partition, offset, b"", b"", (), 0)], {partition: offset + 1}, 0)
    return log


def test_the_base_starts_at_the_lowest_position() -> None:
    cursor = Cursor(make_log(0, 1, 2, 0, 1, 2), {0: 3, 1: 1, 2: 5})
    assert cursor.behind
    assert (cursor.base, cursor.wanted()) == (1, {0: 3, 1: 1, 2: 5})
    assert not cursor.reads_all
    cursor.advance(6)
    assert not cursor.behind
    assert cursor.reads_all
    assert [cursor.position(number) for number in range(3)] == [4, 5, 6]


def test_an_idle_partition_does_not_hold_the_base_back() -> None:
    cursor = Cursor(make_log(0, 1, 1, 1, 1), {0: 1, 1: 4, 2: 0})
    assert cursor.behind
    assert cursor.base == 4
    assert [cursor.position(number) for number in range(3)] == [1, 4, 0]


def test_a_partition_that_has_caught_up_lets_the_base_jump() -> None:
    cursor = Cursor(make_log(0, 1, 0, 1, 1, 1), {0: 2, 1: 5, 2: 0})
    assert cursor.behind
    assert cursor.base == 2
    cursor.advance(3)
    assert cursor.base == 5


def test_pausing_and_resuming_goes_back_only_for_what_was_paused() -> None:
    log = make_log(0, 1, 0, 1)
    cursor = Cursor(log, {0: 0, 1: 0})
    cursor.pause([1, 2])
    assert cursor.behind
    cursor.advance(4)
    assert (cursor.position(0), cursor.position(1), cursor.behind) == (3, 0, False)
    cursor.resume([1])
    assert cursor.behind
    assert (cursor.base, cursor.wanted()) == (0, {0: 4, 1: 0})


def test_a_paused_partition_can_be_sought() -> None:
    cursor = Cursor(make_log(0, 0, 0), {0: 0})
    cursor.pause([0])
    cursor.seek(0, 2)
    assert (cursor.position(0), cursor.behind) == (2, False)
    cursor.resume([0])
    assert cursor.behind
    assert cursor.base == 2


def test_a_sought_position_is_checked_before_reading() -> None:
    log = make_log(0, 0, 0)
    log.truncate({0: 2})
    for offset, said in ((1, "starts at 2, 1 is gone"), (4, "ends at 3, before 4")):
        cursor = Cursor(log, {0: offset})
        for _ in range(2):
            with pytest.raises(OffsetOutOfRange, match=said):
                _ = cursor.behind
        cursor.seek(0, 2)
        assert cursor.behind


def test_every_change_by_a_caller_raises_the_version() -> None:
    cursor = Cursor(make_log(0, 1), {0: 0, 1: 0})
    versions = [cursor.version]
    for move in (lambda: cursor.seek(0, 1), lambda: cursor.pause([0]), lambda: cursor.resume([0])):
        move()
        versions.append(cursor.version)
    assert len(set(versions)) == len(versions)


def test_a_cursor_without_partitions_is_never_behind() -> None:
    assert not Cursor(make_log(0), {}).behind
    with pytest.raises(KeyError):
        Cursor(make_log(0), {0: 0}).position(1)
