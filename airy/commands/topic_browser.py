"""The topics of the log, and the records in them.

`Unavailable` means that the log does not answer; anything wrong in a request is `Refused` with the field and what would
be valid. Reads only.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import anyio
from msgspec import Struct

from airy import acls, components, topics
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic, partition_of
from airy.clock import Clock
from airy.commands.errors import NotFound
from airy.commands.record_pages import Direction, RecordPage, WantedRecords, read_page
from airy.commands.record_redaction import Mask, ShownRecord, shown_record
from airy.config_reader import closest
from airy.errors import Refused

PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 200
AGES_S: Final = 2.0  # in which the times of the oldest records that groups have not committed are read
AGES_FETCH_S: Final = 0.3
GROUPS_AT_ONCE_MAX: Final = 8

Offsets = Mapping[TopicPartition, int]
Ages = Mapping[tuple[TopicPartition, int], float]  # s, of the record at an offset


class OffsetSpan(Struct, frozen=True):
    """Of a partition: the first readable offset, and the next one to be written."""

    partition: int
    begin: int
    end: int


class PartitionState(Struct, frozen=True):
    """`records`: at most how many there are; None: they are too many to count."""

    partition: int
    begin: int
    end: int
    records: int | None


class PartitionLag(Struct, frozen=True):
    """`position`: the next offset the group reads, by what it has committed. `lag` and `age_s`: as in `GroupLag`; None:
    not known.
    """

    partition: int
    position: int
    lag: int | None
    age_s: float | None


class GroupLag(Struct, frozen=True, kw_only=True):
    """How far a consumer group is behind in a topic. `lag`: at most how many records it has to commit; None: it has
    committed nothing. `age_s`: of the oldest record it has not committed, 0 without one; None: not known.
    `partitions`: those in which it has committed something.
    """

    group: str
    component: str
    lag: int | None
    age_s: float | None
    partitions: Sequence[PartitionLag]


class TopicState(Struct, frozen=True, kw_only=True):
    """`records`: how many there are at most; compaction may have removed some of them."""

    topic: Topic[Any]
    records: int
    partitions: Sequence[PartitionState]
    groups: Sequence[GroupLag]
    writers: Sequence[str]
    readers: Sequence[str]


class Lags(Struct, frozen=True):
    """Of a group: by topic, and by partition, where it is known."""

    topics: Mapping[str, int]
    partitions: Mapping[TopicPartition, int | None]


class BrowseRequest(Struct, frozen=True, kw_only=True):
    """At most one of `offset`, `at_ms` and `positions` says where to start; without one, older records from the end."""

    topic: str
    partitions: Sequence[int] | None = None  # None: all, or the one of `key`
    key: str | None = None
    offset: int | None = None
    at_ms: int | None = None
    positions: Mapping[int, int] | None = None
    direction: Direction | None = None
    page_size: int = PAGE_SIZE


class BrowsedPage(Struct, frozen=True, kw_only=True):
    records: Sequence[ShownRecord]
    older: Mapping[int, int] | None  # offset by partition
    newer: Mapping[int, int]
    at_end: bool
    complete: bool
    spans: Sequence[OffsetSpan]  # of the partitions that were read


class TopicBrowser:
    def __init__(self, bus: Bus, clock: Clock, mask: Mask = str) -> None:
        self._bus = bus
        self._clock = clock
        self._mask = mask
        self._one_page = anyio.Semaphore(1)  # bounds memory and load however many callers browse

    async def find_all(self) -> Sequence[TopicState]:
        """Every topic of the instance. Raises `Unavailable`."""
        begins = await self._bus.beginning_offsets(topics.ALL)
        ends = await self._bus.end_offsets(topics.ALL)
        counts = await self._bus.counts_from(begins)
        held = await self._bus.partition_counts_from(begins)
        positions = {
            group: {tp: max(offset, begins[tp]) for tp, offset in offsets.items()}
            for group, offsets in (await self._committed()).items()
        }
        lags = {group: await self._lags(offsets, ends) for group, offsets in positions.items()}
        lagging = {at for offsets in positions.values() for at in offsets.items() if at[1] < ends[at[0]]}
        times = await self._times_of(sorted(lagging))
        ages = {at: max(0, self._clock.now_ms() - time_ms) / 1000 for at, time_ms in times.items()}
        return [
            TopicState(
                topic=topic,
                records=counts[topic.name],
                partitions=[
                    PartitionState(tp.partition, begins[tp], ends[tp], held.get(tp)) for tp in topic.topic_partitions
                ],
                groups=[
                    group_lag(topic, owner, group, positions[group], ends, lags[group], ages)
                    for owner, group, read in _groups()
                    if topic.name in {each.name for each in read}
                ],
                writers=[name for name in acls.ACTORS if acls.writes(name, topic)],
                readers=[name for name in acls.ACTORS if acls.reads(name, topic)],
            )
            for topic in topics.ALL
        ]

    async def browse(self, request: BrowseRequest) -> BrowsedPage:
        """Raises `NotFound` for an unknown topic, `Refused` with the valid range, `Unavailable`."""
        topic = topics.BY_NAME.get(request.topic)
        if topic is None:
            near = closest(request.topic[:128], list(topics.BY_NAME))
            raise NotFound(f"there is no topic {request.topic[:128]!r}{near}", field="topic")
        key = None if request.key is None else request.key.encode()
        read = wanted_partitions(topic, request, key)
        async with self._one_page:
            begins = await self._bus.beginning_offsets([topic])
            ends = await self._bus.end_offsets([topic])
            starts, direction = await self._starts(topic, request, read, begins, ends)
            wanted = WantedRecords(
                starts=starts,
                begins=begins,
                ends=ends,
                direction=direction,
                count=page_size_of(request.page_size),
                key=key,
            )
            page = await read_page(self._bus, wanted)
        return self._browsed(page, read, begins, ends)

    def _browsed(self, page: RecordPage, read: Sequence[TopicPartition], begins: Offsets, ends: Offsets) -> BrowsedPage:
        return BrowsedPage(
            records=[shown_record(record, self._mask) for record in page.records],
            older=None if page.older is None else _by_partition(page.older),
            newer=_by_partition(page.newer),
            at_end=all(page.newer[tp] >= ends[tp] for tp in read),
            complete=page.complete,
            spans=[OffsetSpan(tp.partition, begins[tp], ends[tp]) for tp in read],
        )

    async def _starts(
        self,
        topic: Topic[Any],
        request: BrowseRequest,
        read: Sequence[TopicPartition],
        begins: Offsets,
        ends: Offsets,
    ) -> tuple[Offsets, Direction]:
        if request.at_ms is not None:
            at = await self._bus.offsets_at([topic], request.at_ms)
            return {tp: min(max(at[tp], begins[tp]), ends[tp]) for tp in read}, request.direction or "newer"
        if request.offset is not None:
            (tp,) = read
            check_offset(tp, request.offset, begins, ends, "offset")
            return {tp: request.offset}, request.direction or "newer"
        if request.positions is not None:
            for tp in read:
                field = f"positions.{tp.partition}"
                check_offset(tp, request.positions[tp.partition], begins, ends, field)
            return {tp: request.positions[tp.partition] for tp in read}, request.direction or "newer"
        if request.direction == "newer":
            return {tp: begins[tp] for tp in read}, "newer"
        return {tp: ends[tp] for tp in read}, "older"

    # --- lag

    async def _committed(self) -> Mapping[str, Offsets]:
        """Committed offsets, by group."""
        found: dict[str, Offsets] = {}
        limit = anyio.CapacityLimiter(GROUPS_AT_ONCE_MAX)

        async def ask(group: str, read: Sequence[Topic[Any]]) -> None:
            async with limit:
                found[group] = await self._bus.committed(group, read)

        async with anyio.create_task_group() as tasks:
            for _, group, read in _groups():
                tasks.start_soon(ask, group, read)
        return found

    async def _lags(self, positions: Offsets, ends: Offsets) -> Lags:
        """Of the topics in which the group has committed anything."""
        behind = {tp: offset for tp, offset in positions.items() if offset < ends[tp]}
        counts = await self._bus.counts_from(behind) if behind else {}
        found = await self._bus.partition_counts_from(behind) if behind else {}
        return Lags(
            {tp.topic: counts.get(tp.topic, 0) for tp in positions},
            {tp: found.get(tp) if tp in behind else 0 for tp in positions},
        )

    async def _times_of(self, positions: Iterable[tuple[TopicPartition, int]]) -> dict[tuple[TopicPartition, int], int]:
        """The times of the first records at or behind these positions, which are in order. Those that the log does not
        return in `AGES_S` are left out.
        """
        waiting: dict[TopicPartition, list[int]] = {}
        for tp, offset in positions:
            waiting.setdefault(tp, []).append(offset)
        found: dict[tuple[TopicPartition, int], int] = {}
        if not waiting:
            return found
        with anyio.move_on_after(AGES_S):
            async with self._bus.tail({tp: offsets[0] for tp, offsets in waiting.items()}) as tail:
                while waiting:
                    for record in await tail.fetch(records_max=100, wait_s=AGES_FETCH_S):
                        tp = record.topic_partition
                        offsets = waiting.get(tp, [])
                        while offsets and offsets[0] <= record.offset:
                            found[tp, offsets.pop(0)] = record.timestamp_ms
                        if not offsets and waiting.pop(tp, None) is not None:
                            tail.pause([tp])
        return found


# --- deciding


def wanted_partitions(topic: Topic[Any], request: BrowseRequest, key: bytes | None) -> Sequence[TopicPartition]:
    """Raises `Refused` for partitions the topic does not have, and for contradictions."""
    given = [name for name in ("offset", "at_ms", "positions") if getattr(request, name) is not None]
    if len(given) > 1:
        named = " and ".join("time" if name == "at_ms" else name for name in given)
        raise Refused(f"is one start too many: give one of {named}", field=given[-1].replace("at_ms", "time"))
    numbers, field = request.partitions, "partitions"
    if request.positions is not None:
        if numbers is not None and {*numbers} != {*request.positions}:
            raise Refused("are not those in positions: leave them out", field="partitions")
        numbers, field = list(request.positions), "positions"
    if numbers is None:
        numbers = range(topic.partitions) if key is None else [partition_of(key, topic.partitions)]
    if not numbers:
        raise Refused("must name a partition", field=field)
    wrong = [number for number in numbers if not 0 <= number < topic.partitions]
    if wrong:
        raise Refused(f"{topic.name} has partitions 0 to {topic.partitions - 1}, not {wrong[0]}", field=field)
    if key is not None and partition_of(key, topic.partitions) not in numbers:
        place = partition_of(key, topic.partitions)
        raise Refused(f"records with this key are in partition {place}", field=field)
    if request.offset is not None and len(set(numbers)) > 1:
        raise Refused("is of one partition: name it in partitions, or give a key", field="offset")
    return [TopicPartition(topic.name, number) for number in sorted(set(numbers))]


def check_offset(tp: TopicPartition, offset: int, begins: Offsets, ends: Offsets, field: str) -> None:
    """Raises `Refused` with the valid range."""
    begin, end = begins[tp], ends[tp]
    if not begin <= offset <= end:
        raise Refused(f"{tp.topic}[{tp.partition}] has offsets from {begin} to {end}, not {offset}", field=field)


def page_size_of(given: int) -> int:
    if not 1 <= given <= PAGE_SIZE_MAX:
        raise Refused(f"must be 1 to {PAGE_SIZE_MAX}", field="page_size")
    return given


def group_lag(
    topic: Topic[Any], component: str, group: str, positions: Offsets, ends: Offsets, lags: Lags, ages: Ages
) -> GroupLag:
    """`positions`: where the group reads on; `ages`: of the records at them, as far as they are known."""
    partitions = [
        PartitionLag(
            tp.partition,
            positions[tp],
            lags.partitions[tp],
            ages.get((tp, positions[tp])) if positions[tp] < ends[tp] else 0.0,
        )
        for tp in topic.topic_partitions
        if tp in positions
    ]
    behind = [each for each in partitions if each.position < ends[TopicPartition(topic.name, each.partition)]]
    oldest_s = max((each.age_s for each in behind if each.age_s is not None), default=None)
    return GroupLag(
        group=group,
        component=component,
        lag=lags.topics.get(topic.name),
        age_s=0.0 if partitions and not behind else oldest_s,
        partitions=partitions,
    )


def _groups() -> Iterable[tuple[str, str, Sequence[Topic[Any]]]]:
    """Component, consumer group and topics of every group that commits offsets."""
    for component in components.ALL:
        for group in component.groups:
            if group.commits:
                yield component.id, group.name, group.commits


def _by_partition(offsets: Offsets) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items()}
