"""An archive into an empty log: looked at as a whole first, then written partition by partition.

Nothing is written twice. A publish whose outcome is unknown ends the import; continued with `resume`, it compares what
is there with the archive, record by record, and goes on behind it. So it may be interrupted anywhere.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from anyio.lowlevel import checkpoint
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.app.moving.exporting import Moved
from airy.app.moving.groups import commit
from airy.app.moving.places import Offsets, Wanted, moved, places_in, wanted
from airy.app.moving.reading import read
from airy.app.moving.watch import Watch, unwatched
from airy.bus.api import Bus
from airy.bus.archive import Block, Damaged, End, Entry, Head, Place, Source, entry_of, read_archive
from airy.bus.record import Record, TopicPartition
from airy.errors import Refused, Unavailable

TOPICS = {topic.name: topic for topic in topics.ALL}


class Contents(Struct, frozen=True):
    """What there is to know about an archive before anything is done with it."""

    counts: Mapping[TopicPartition, int]
    places: Sequence[Place]
    wanted: Wanted  # ordinals that have to be found again
    moved: Moved


async def look_through(source: Source, *, watch: Watch = unwatched) -> Contents:
    """Reads all of it. Raises `Damaged`, or `Refused` if it has topics this version does not have like that."""
    counts: dict[TopicPartition, int] = {}
    places: list[Place] = []
    begins: dict[tuple[TopicPartition, int], None] = {}
    for part in read_archive(source):
        match part:
            case Head():
                _check_topics(part)
            case Block(where, first, entries):
                counts[where] = first + len(entries)
                if where.topic == topics.WEBHOOKS.name:
                    begins.update((place, None) for entry in entries for place in places_in(entry.value))
                watch(where.topic, len(entries))
            case Place():
                places.append(part)
            case End(records, places_, digest):
                result = Moved(records, places_, digest)
        await checkpoint()
    for where, ordinal in begins:
        if not 0 <= ordinal <= counts.get(where, 0):
            raise Damaged(f"a webhook begins at record {ordinal} of {where.topic}[{where.partition}], which is none")
    return Contents(counts, places, wanted([*begins, *((place.where, place.ordinal) for place in places)]), result)


def _check_topics(head: Head) -> None:
    for shape in head.topics:
        known = TOPICS.get(shape.name)
        if known is None:
            raise Refused(f"the archive has a topic {shape.name!r} this version does not know: use a newer Airy")
        if known.partitions != shape.partitions:
            text = f"{shape.name} has {shape.partitions} partitions in the archive and {known.partitions} here"
            raise Refused(f"{text}: order and ids depend on them, so it cannot be moved")


async def import_log(
    bus: Bus, source: Source, contents: Contents, *, resume: bool = False, watch: Watch = unwatched
) -> None:
    """`source` is the archive `contents` was found in, from its beginning."""
    target = await _target(bus, contents, resume=resume)
    try:
        await _fill(bus, source, contents, target, watch)
        await _check_ends(bus, target)
        for group, offsets in _committed(contents, target.offsets).items():
            await commit(bus, group, offsets)
    except Unavailable as error:
        raise Unavailable(f"{error}; the import is not complete, run it again with --resume") from error


class _Target:
    """The log that is filled: what it held before, and where what was put into it is."""

    def __init__(
        self, contents: Contents, starts: Mapping[TopicPartition, int], held_to: Mapping[TopicPartition, int]
    ) -> None:
        self.starts = starts
        self.held_to = held_to  # its ends, before anything was put into it
        self.ends = dict(held_to)
        self.offsets = Offsets(contents.wanted, starts)

    def holds(self, where: TopicPartition, ordinal: int, offset: int) -> None:
        self.offsets.holds(where, ordinal, offset)
        self.ends[where] = max(self.ends[where], offset + 1)


class _Prefix:
    """What a partition held before, in the order it is compared."""

    def __init__(self, batches: AsyncIterator[list[Record]]) -> None:
        self._batches = batches
        self._ready: list[Record] = []

    async def take(self, records_max: int) -> list[Record]:
        """The next so many; fewer only at the end."""
        while len(self._ready) < records_max:
            more = await anext(self._batches, None)
            if more is None:
                break
            self._ready += more
        taken, self._ready = self._ready[:records_max], self._ready[records_max:]
        return taken


async def _target(bus: Bus, contents: Contents, *, resume: bool) -> _Target:
    starts, ends = await bus.starts(topics.ALL), await bus.ends(topics.ALL)
    filled = [where for where, end in ends.items() if starts[where] < end and where.topic != topics.COMPONENTS.name]
    if filled and not resume:
        where = filled[0]
        raise Refused(
            f"the log is not empty, {where.topic}[{where.partition}] has records: import into an empty one; "
            "if these are of an import that did not end, run it again with --resume"
        )
    for where in filled:
        if where not in contents.counts:
            raise _different(where, 0)
        if starts[where] > 0:
            raise Refused(f"{where.topic}[{where.partition}] has lost its first records: begin again with an empty log")
    return _Target(contents, starts, ends)


async def _fill(bus: Bus, source: Source, contents: Contents, target: _Target, watch: Watch) -> None:
    async with AsyncExitStack() as held:
        prefix: _Prefix | None = None
        for part in read_archive(source):
            if isinstance(part, End) and part.sha256 != contents.moved.sha256:
                raise Damaged("the archive is not the one that was looked at: it changed meanwhile")
            if not isinstance(part, Block):
                continue
            if part.first == 0:
                await held.aclose()
                batches = read(bus, target.starts, {part.where: target.held_to[part.where]})
                prefix = _Prefix(await held.enter_async_context(aclosing(batches)))
            assert prefix is not None
            await _put(bus, part, prefix, target)
            if part.first + len(part.entries) == contents.counts[part.where] and await prefix.take(1):
                raise _different(part.where, contents.counts[part.where])
            watch(part.where.topic, len(part.entries))


async def _put(bus: Bus, block: Block, prefix: _Prefix, target: _Target) -> None:
    where = block.where
    entries = [_arriving(entry, target.offsets) for entry in block.entries] if _has_places(where) else block.entries
    there = await prefix.take(len(entries))
    for ordinal, (record, entry) in enumerate(zip(there, entries, strict=False), block.first):
        if entry_of(record) != entry:
            raise _different(where, ordinal)
        target.holds(where, ordinal, record.offset)
    rest = entries[len(there) :]
    positions = await bus.publish([entry.emit(where) for entry in rest]) if rest else ()
    for ordinal, position in enumerate(positions, block.first + len(there)):
        target.holds(where, ordinal, position.offset)


async def _check_ends(bus: Bus, target: _Target) -> None:
    for where, end in (await bus.ends(topics.ALL)).items():
        if end != target.ends[where]:
            text = f"{where.topic}[{where.partition}] ends at {end} and not at {target.ends[where]}"
            raise Refused(f"{text}: somebody else wrote to it; stop every process, and import into an empty log")


def _committed(contents: Contents, offsets: Offsets) -> dict[str, dict[TopicPartition, int]]:
    found: dict[str, dict[TopicPartition, int]] = {}
    for place in contents.places:
        found.setdefault(place.group, {})[place.where] = offsets(place.where, place.ordinal)
    return found


def _has_places(where: TopicPartition) -> bool:
    return where.topic == topics.WEBHOOKS.name


def _arriving(entry: Entry, offsets: Offsets) -> Entry:
    return replace(entry, value=moved(entry.value, offsets))


def _different(where: TopicPartition, ordinal: int) -> Refused:
    text = f"{where.topic}[{where.partition}] holds something else than the archive from record {ordinal} on"
    return Refused(f"{text}: import into an empty log")
