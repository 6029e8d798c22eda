"""The shelf between the client and `fetch`: every record once, in order, whatever comes in whatever turn."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from airy.bus.kafka.shelf import RECORD_BYTES, Shelf
from airy.bus.record import Record, TopicPartition

PARTITIONS = [TopicPartition("facts", number) for number in range(3)]
LOG = {
    where: [
        Record("facts", where.partition, offset, b"key", b"v" * (offset % 7), (), 0)
        for offset in range(60)
        if (offset * 7 + where.partition) % 5  # compaction leaves gaps
    ]
    for where in PARTITIONS
}
END = 60
some = st.lists(st.sampled_from(PARTITIONS), unique=True)
one = st.sampled_from(PARTITIONS)


class Model(RuleBasedStateMachine):
    """`self.client` is where the client would read on; `self.place` is what has been handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.client: dict[TopicPartition, int] = {}
        self.place: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.batches: dict[TopicPartition, int] = {}

    @rule(places=st.dictionaries(one, st.integers(0, END)))
    def follow(self, places: dict[TopicPartition, int]) -> None:
        self.shelf.follow(places)
        self.client, self.place, self.paused = dict(places), dict(places), set()

    @rule(where=one, offset=st.integers(0, END))
    def seek(self, where: TopicPartition, offset: int) -> None:
        if where in self.place:
            self.shelf.seek(where, offset)
            self.client[where] = self.place[where] = offset
        else:
            with pytest.raises(LookupError):
                self.shelf.seek(where, offset)

    @rule(where=some)
    def pause(self, where: list[TopicPartition]) -> None:
        known = self.shelf.pause(where)
        assert known == [one for one in where if one in self.place]
        self.paused |= set(known)

    @rule(where=some)
    def resume(self, where: list[TopicPartition]) -> None:
        assert self.shelf.resume(where) == [one for one in where if one in self.place]
        self.paused -= set(where)

    @rule(where=one, count=st.integers(1, 10))
    def fill_what_is_wanted(self, where: TopicPartition, count: int) -> None:
        if where in self.shelf.wanted():
            self.give(where, count)

    @rule(where=one, count=st.integers(1, 10))
    def give(self, where: TopicPartition, count: int) -> None:
        """Wanted or not: the client moves on whatever becomes of it, and goes back to the tip when told to."""
        begin = self.client.get(where, 0)
        batch = [record for record in LOG[where] if record.offset >= begin][:count]
        if not batch:
            return
        if where in self.client:
            self.client[where] = batch[-1].offset + 1
        if self.shelf.put(where, batch):
            self.batches[where] = len(batch)
        elif (tip := self.shelf.tip(where)) is not None:
            self.client[where] = tip

    @rule(where=one)
    def the_client_goes_back(self, where: TopicPartition) -> None:
        """A new one begins at the positions, though some of what follows is held already."""
        if where in self.client:
            self.client[where] = self.place[where]

    @rule(where=one)
    def skip(self, where: TopicPartition) -> None:
        """Nothing readable before the next record there is."""
        if where in self.place and where in self.shelf.wanted():
            at = next((record.offset for record in LOG[where] if record.offset >= self.place[where]), END)
            self.shelf.skipped_to(where, at)
            self.place[where] = max(self.place[where], at)
            self.client[where] = max(self.client[where], at)

    @rule(records_max=st.integers(0, 12), bytes_max=st.integers(0, 10 * RECORD_BYTES))
    def take(self, records_max: int, bytes_max: int) -> None:
        taken = self.shelf.take(records_max, bytes_max)
        assert len(taken) <= records_max
        weights = [RECORD_BYTES + len(record.value or b"") for record in taken]
        assert sum(weights) <= bytes_max or len(taken) == 1
        for where in PARTITIONS:
            mine = [record for record in taken if record.where == where]
            if mine:
                assert where not in self.paused
                expected = [record for record in LOG[where] if record.offset >= self.place[where]]
                assert mine == expected[: len(mine)]
                self.place[where] = mine[-1].offset + 1

    @rule()
    def take_one(self) -> None:
        """There is one whenever a partition that is not paused holds some."""
        ready = [where for where in self.place if where not in self.paused and where not in self.shelf.wanted()]
        before = dict(self.place)
        self.take(1, 1)
        assert (self.place != before) == bool(ready)

    @invariant()
    def it_says_where_it_is(self) -> None:
        assert dict(self.shelf.positions) == self.place
        assert self.shelf.paused == self.paused
        assert self.shelf.idle == (self.place.keys() == self.paused)
        assert not set(self.shelf.wanted()) & self.paused

    @invariant()
    def it_holds_no_more_than_a_batch_of_each(self) -> None:
        for where, held in self.shelf._held.items():
            assert 0 < len(held.records) - held.at <= self.batches[where]


TestShelf = Model.TestCase


def shelf_with(*counts: int) -> Shelf:
    shelf = Shelf()
    shelf.follow(dict.fromkeys(PARTITIONS[: len(counts)], 0))
    for where, count in zip(PARTITIONS, counts, strict=False):
        assert shelf.put(where, LOG[where][:count])
    return shelf


def test_every_partition_has_its_turn() -> None:
    """A busy one does not keep the others waiting, however little is taken at a time."""
    shelf = shelf_with(10, 10, 10)
    assert {shelf.take(1, 1_000)[0].where for _ in range(3)} == set(PARTITIONS)


def test_a_record_larger_than_the_limit_is_handed_out_alone() -> None:
    shelf = shelf_with(10, 10)
    assert len(shelf.take(10, 1)) == 1


def test_what_was_sought_is_asked_for_again() -> None:
    shelf = shelf_with(10)
    where = PARTITIONS[0]
    assert shelf.wanted() == []
    shelf.seek(where, 30)
    assert shelf.wanted() == [where]
    assert shelf.put(where, LOG[where][:10])  # an answer to the question before: all of it is below
    assert shelf.take(10, 1_000) == []
    assert shelf.position(where) == 30
