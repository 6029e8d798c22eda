"""The buffer between the client and `fetch` returns every record once and in order, in any interleaving."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from airy.bus.kafka.fetch_buffer import RECORD_BYTES, FetchBuffer
from airy.bus.record import Record, TopicPartition

PARTITIONS = [TopicPartition("facts", number) for number in range(3)]
LOG = {
    tp: [
        Record("facts", tp.partition, offset, b"key", b"v" * (offset % 7), (), 0)
        for offset in range(60)
        if (offset * 7 + tp.partition) % 5  # compaction leaves gaps
    ]
    for tp in PARTITIONS
}
END = 60
some = st.lists(st.sampled_from(PARTITIONS), unique=True)
one = st.sampled_from(PARTITIONS)


class Model(RuleBasedStateMachine):
    """`self.client` is the client's position; `self.place` is the position of the records returned."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = FetchBuffer()
        self.client: dict[TopicPartition, int] = {}
        self.place: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.batches: dict[TopicPartition, int] = {}

    @rule(places=st.dictionaries(one, st.integers(0, END)))
    def follow(self, places: dict[TopicPartition, int]) -> None:
        self.buffer.follow(places)
        self.client, self.place, self.paused = dict(places), dict(places), set()

    @rule(tp=one, offset=st.integers(0, END))
    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp in self.place:
            self.buffer.seek(tp, offset)
            self.client[tp] = self.place[tp] = offset
        else:
            with pytest.raises(LookupError):
                self.buffer.seek(tp, offset)

    @rule(tp=some)
    def pause(self, tp: list[TopicPartition]) -> None:
        known = self.buffer.pause(tp)
        assert known == [one for one in tp if one in self.place]
        self.paused |= set(known)

    @rule(tp=some)
    def resume(self, tp: list[TopicPartition]) -> None:
        assert self.buffer.resume(tp) == [one for one in tp if one in self.place]
        self.paused -= set(tp)

    @rule(tp=one, count=st.integers(1, 10))
    def fill_what_is_wanted(self, tp: TopicPartition, count: int) -> None:
        if tp in self.buffer.wanted():
            self.give(tp, count)

    @rule(tp=one, count=st.integers(1, 10))
    def give(self, tp: TopicPartition, count: int) -> None:
        """Wanted or not: the client's position advances in any case, and is set back by a seek."""
        begin = self.client.get(tp, 0)
        batch = [record for record in LOG[tp] if record.offset >= begin][:count]
        if not batch:
            return
        if tp in self.client:
            self.client[tp] = batch[-1].offset + 1
        if self.buffer.put(tp, batch):
            self.batches[tp] = len(batch)
        elif (fetch_offset := self.buffer.next_fetch_offset(tp)) is not None:
            self.client[tp] = fetch_offset

    @rule(tp=one)
    def the_client_goes_back(self, tp: TopicPartition) -> None:
        """A new client starts at the positions, although some later records are buffered already."""
        if tp in self.client:
            self.client[tp] = self.place[tp]

    @rule(tp=one)
    def skip(self, tp: TopicPartition) -> None:
        """There is no readable record before the next one."""
        if tp in self.place and tp in self.buffer.wanted():
            at = next((record.offset for record in LOG[tp] if record.offset >= self.place[tp]), END)
            self.buffer.skip_to(tp, at)
            self.place[tp] = max(self.place[tp], at)
            self.client[tp] = max(self.client[tp], at)

    @rule(records_max=st.integers(0, 12), bytes_max=st.integers(0, 10 * RECORD_BYTES))
    def take(self, records_max: int, bytes_max: int) -> None:
        taken = self.buffer.take(records_max, bytes_max)
        assert len(taken) <= records_max
        weights = [RECORD_BYTES + len(record.value or b"") for record in taken]
        assert sum(weights) <= bytes_max or len(taken) == 1
        for tp in PARTITIONS:
            mine = [record for record in taken if record.topic_partition == tp]
            if mine:
                assert tp not in self.paused
                expected = [record for record in LOG[tp] if record.offset >= self.place[tp]]
                assert mine == expected[: len(mine)]
                self.place[tp] = mine[-1].offset + 1

    @rule()
    def take_one(self) -> None:
        """At least one record whenever a partition that is not paused has some."""
        ready = [tp for tp in self.place if tp not in self.paused and tp not in self.buffer.wanted()]
        before = dict(self.place)
        self.take(1, 1)
        assert (self.place != before) == bool(ready)

    @invariant()
    def it_says_where_it_is(self) -> None:
        assert dict(self.buffer.positions) == self.place
        assert self.buffer.paused == self.paused
        assert self.buffer.idle == (self.place.keys() == self.paused)
        assert not set(self.buffer.wanted()) & self.paused

    @invariant()
    def it_holds_no_more_than_a_batch_of_each(self) -> None:
        for tp, held in self.buffer._held.items():
            assert 0 < len(held.records) - held.at <= self.batches[tp]


TestFetchBuffer = Model.TestCase


def buffer_with(*counts: int) -> FetchBuffer:
    buffer = FetchBuffer()
    buffer.follow(dict.fromkeys(PARTITIONS[: len(counts)], 0))
    for tp, count in zip(PARTITIONS, counts, strict=False):
        assert buffer.put(tp, LOG[tp][:count])
    return buffer


def test_partitions_are_taken_in_turn() -> None:
    """A busy partition does not starve the others, however little is taken at a time."""
    buffer = buffer_with(10, 10, 10)
    assert {buffer.take(1, 1_000)[0].topic_partition for _ in range(3)} == set(PARTITIONS)


def test_a_record_larger_than_the_limit_is_returned_alone() -> None:
    buffer = buffer_with(10, 10)
    assert len(buffer.take(10, 1)) == 1


def test_a_sought_partition_is_fetched_again() -> None:
    buffer = buffer_with(10)
    tp = PARTITIONS[0]
    assert buffer.wanted() == []
    buffer.seek(tp, 30)
    assert buffer.wanted() == [tp]
    assert buffer.put(tp, LOG[tp][:10])  # the response to an earlier fetch, entirely below the new position
    assert buffer.take(10, 1_000) == []
    assert buffer.position(tp) == 30
