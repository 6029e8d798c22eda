"""Times of what a process did with the log, kept in memory."""

from airy import topics
from airy.bus.record import Position, TopicPartition
from airy.recent_times import BATCHES_MAX, BroadcastTimes, FoldedBatch, FoldTimes

HERE = TopicPartition(topics.EVENTS.name, 3)
ELSEWHERE = TopicPartition(topics.EVENTS.name, 4)


def test_the_newest_batch_with_the_record_is_found() -> None:
    """A record is folded twice after the store was rebuilt."""
    times = FoldTimes()
    times.add(FoldedBatch(15, {HERE: (0, 10), ELSEWHERE: (0, 5)}, 1_000, 1_010))
    times.add(FoldedBatch(2, {HERE: (10, 12)}, 2_000, 2_001))
    times.add(FoldedBatch(12, {HERE: (0, 12)}, 3_000, 3_020))

    found = [times.find(Position(*where)) for where in [(*HERE, 11), (*ELSEWHERE, 4), (*HERE, 12), (*ELSEWHERE, 5)]]

    assert [each and each.stored_ms for each in found] == [3_020, 1_010, None, None]


def test_old_batches_are_forgotten() -> None:
    times = FoldTimes()
    for offset in range(BATCHES_MAX):
        times.add(FoldedBatch(1, {HERE: (offset, offset + 1)}, offset, offset))
    assert times.forgets
    assert times.find(Position(*HERE, 0)) is not None

    times.add(FoldedBatch(1, {HERE: (BATCHES_MAX, BATCHES_MAX + 1)}, 0, 0))

    assert times.find(Position(*HERE, 0)) is None


def test_changes_of_one_record_are_one_broadcast() -> None:
    times = BroadcastTimes()
    times.add(Position(*HERE, 7), 1_000, subscribers=2, cut=0)
    times.add(Position(*HERE, 7), 1_001, subscribers=5, cut=1)
    times.add(Position(*HERE, 8), 1_002, subscribers=1, cut=0)

    seven, eight = times.find(Position(*HERE, 7)), times.find(Position(*HERE, 8))

    assert seven is not None
    assert eight is not None
    assert (seven.at_ms, seven.subscribers, seven.cut) == (1_001, 5, 1)
    assert (eight.at_ms, eight.subscribers, eight.cut) == (1_002, 1, 0)


def test_records_without_a_subscriber_have_a_time_and_a_change_behind_them_has_its_own() -> None:
    times = BroadcastTimes()
    times.add_unwanted(HERE, 5, 9, 1_000)
    times.add(Position(*HERE, 9), 2_000, subscribers=1, cut=0)

    found = [times.find(Position(*HERE, offset)) for offset in (4, 5, 8, 9)]

    assert [each and (each.at_ms, each.subscribers) for each in found] == [None, (1_000, 0), (1_000, 0), (2_000, 1)]
