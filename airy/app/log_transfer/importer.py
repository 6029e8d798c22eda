"""Imports an archive into an empty log: inspects all of it first, then writes partition by partition.

Nothing is written twice. A publish with an unknown outcome ends the import; run again with `resume`, it compares the
log with the archive record by record and continues after the common prefix. So it may be interrupted anywhere.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from anyio.lowlevel import checkpoint
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.app.log_transfer.exporter import ArchiveSummary
from airy.app.log_transfer.group_offsets import commit
from airy.app.log_transfer.ordinals import Offsets, Wanted, by_partition, subscription_starts, with_converted_starts
from airy.app.log_transfer.read_partitions import read_partitions
from airy.app.progress import OnProgress, no_progress
from airy.bus.api import Bus
from airy.bus.log_archive import (
    ArchiveDamaged,
    ArchivedRecord,
    ArchiveEnd,
    ArchiveHeader,
    ByteSource,
    GroupOrdinal,
    RecordBlock,
    archived_record,
    read_archive,
)
from airy.bus.record import Record, TopicPartition
from airy.errors import Refused, Unavailable

TOPICS = {topic.name: topic for topic in topics.ALL}


class ArchiveContents(Struct, frozen=True):
    """What an inspection of the whole archive finds."""

    counts: Mapping[TopicPartition, int]  # records
    group_ordinals: Sequence[GroupOrdinal]
    wanted: Wanted  # ordinals whose offsets in the target log are needed
    summary: ArchiveSummary


async def inspect_archive(source: ByteSource, *, on_progress: OnProgress = no_progress) -> ArchiveContents:
    """Reads all of it. Raises `ArchiveDamaged`; `Refused` if its topics are not those of this version."""
    counts: dict[TopicPartition, int] = {}
    group_ordinals: list[GroupOrdinal] = []
    starts: dict[tuple[TopicPartition, int], None] = {}
    for part in read_archive(source):
        match part:
            case ArchiveHeader():
                _check_topics(part)
            case RecordBlock(tp, first, entries):
                counts[tp] = first + len(entries)
                if tp.topic == topics.WEBHOOKS.name:
                    starts.update((start, None) for entry in entries for start in subscription_starts(entry.value))
                on_progress(tp.topic, len(entries))
            case GroupOrdinal():
                group_ordinals.append(part)
            case ArchiveEnd(records, groups, digest):
                summary = ArchiveSummary(records, groups, digest)
        await checkpoint()
    for tp, ordinal in starts:
        if not 0 <= ordinal <= counts.get(tp, 0):
            raise ArchiveDamaged(f"a webhook starts at record {ordinal} of {_name(tp)}, which does not exist")
    wanted = by_partition([*starts, *((each.topic_partition, each.ordinal) for each in group_ordinals)])
    return ArchiveContents(counts, group_ordinals, wanted, summary)


def _check_topics(header: ArchiveHeader) -> None:
    for archived in header.topics:
        known = TOPICS.get(archived.name)
        if known is None:
            raise Refused(f"the archive has a topic {archived.name!r} this version does not know: use a newer Airy")
        if known.partitions != archived.partitions:
            text = f"{archived.name} has {archived.partitions} partitions in the archive and {known.partitions} here"
            raise Refused(f"{text}: order and ids depend on them, so it cannot be moved")


async def import_log(
    bus: Bus,
    source: ByteSource,
    contents: ArchiveContents,
    *,
    resume: bool = False,
    on_progress: OnProgress = no_progress,
) -> None:
    """`source`: the inspected archive, at its beginning."""
    target = await _target(bus, contents, resume=resume)
    try:
        await _fill(bus, source, contents, target, on_progress)
        await _check_ends(bus, target)
        for group, offsets in _group_offsets(contents, target.offsets).items():
            await commit(bus, group, offsets)
    except Unavailable as error:
        raise Unavailable(f"{error}; the import is not complete, run it again with --resume") from error


class _Target:
    """The log to fill: its content before the import, and the offsets of the imported records."""

    def __init__(
        self, contents: ArchiveContents, starts: Mapping[TopicPartition, int], ends_before: Mapping[TopicPartition, int]
    ) -> None:
        self.starts = starts
        self.ends_before = ends_before
        self.ends = dict(ends_before)
        self.offsets = Offsets(contents.wanted, starts)

    def add(self, tp: TopicPartition, ordinal: int, offset: int) -> None:
        self.offsets.add(tp, ordinal, offset)
        self.ends[tp] = max(self.ends[tp], offset + 1)


class _Prefix:
    """The records a partition held before the import, in order."""

    def __init__(self, batches: AsyncIterator[list[Record]]) -> None:
        self._batches = batches
        self._ready: list[Record] = []

    async def take(self, records_max: int) -> list[Record]:
        """The next records; fewer than `records_max` only at the end."""
        while len(self._ready) < records_max:
            more = await anext(self._batches, None)
            if more is None:
                break
            self._ready += more
        taken, self._ready = self._ready[:records_max], self._ready[records_max:]
        return taken


async def _target(bus: Bus, contents: ArchiveContents, *, resume: bool) -> _Target:
    starts, ends = await bus.beginning_offsets(topics.ALL), await bus.end_offsets(topics.ALL)
    filled = [tp for tp, end in ends.items() if starts[tp] < end and tp.topic not in topics.OF_PROCESSES]
    if filled and not resume:
        raise Refused(
            f"the log is not empty, {_name(filled[0])} has records: import into an empty one; "
            "if these are of an import that did not end, run it again with --resume"
        )
    for tp in filled:
        if tp not in contents.counts:
            raise _different(tp, 0)
        if starts[tp] > 0:
            raise Refused(f"{_name(tp)} has lost its first records: begin again with an empty log")
    return _Target(contents, starts, ends)


async def _fill(
    bus: Bus, source: ByteSource, contents: ArchiveContents, target: _Target, on_progress: OnProgress
) -> None:
    async with AsyncExitStack() as held:
        prefix: _Prefix | None = None
        for part in read_archive(source):
            if isinstance(part, ArchiveEnd) and part.sha256 != contents.summary.sha256:
                raise ArchiveDamaged("the archive changed after its inspection")
            if not isinstance(part, RecordBlock):
                continue
            tp = part.topic_partition
            if part.first == 0:
                await held.aclose()
                batches = read_partitions(bus, target.starts, {tp: target.ends_before[tp]})
                prefix = _Prefix(await held.enter_async_context(aclosing(batches)))
            assert prefix is not None
            await _import_block(bus, part, prefix, target)
            if part.first + len(part.entries) == contents.counts[tp] and await prefix.take(1):
                raise _different(tp, contents.counts[tp])
            on_progress(tp.topic, len(part.entries))


async def _import_block(bus: Bus, block: RecordBlock, prefix: _Prefix, target: _Target) -> None:
    tp, entries = block.topic_partition, block.entries
    if tp.topic == topics.WEBHOOKS.name:
        entries = [_with_offsets(entry, target.offsets) for entry in entries]
    present = await prefix.take(len(entries))
    for ordinal, (record, entry) in enumerate(zip(present, entries, strict=False), block.first):
        if archived_record(record) != entry:
            raise _different(tp, ordinal)
        target.add(tp, ordinal, record.offset)
    rest = entries[len(present) :]
    positions = await bus.publish([entry.producer_record(tp) for entry in rest]) if rest else ()
    for ordinal, position in enumerate(positions, block.first + len(present)):
        target.add(tp, ordinal, position.offset)


async def _check_ends(bus: Bus, target: _Target) -> None:
    for tp, end in (await bus.end_offsets(topics.ALL)).items():
        if end != target.ends[tp]:
            text = f"{_name(tp)} ends at {end} and not at {target.ends[tp]}"
            raise Refused(f"{text}: another process wrote to it; stop every process, and import into an empty log")


def _group_offsets(contents: ArchiveContents, offsets: Offsets) -> dict[str, dict[TopicPartition, int]]:
    found: dict[str, dict[TopicPartition, int]] = {}
    for each in contents.group_ordinals:
        found.setdefault(each.group, {})[each.topic_partition] = offsets(each.topic_partition, each.ordinal)
    return found


def _with_offsets(entry: ArchivedRecord, offsets: Offsets) -> ArchivedRecord:
    return replace(entry, value=with_converted_starts(entry.value, offsets))


def _different(tp: TopicPartition, ordinal: int) -> Refused:
    text = f"{_name(tp)} differs from the archive from record {ordinal} on"
    return Refused(f"{text}: import into an empty log")


def _name(tp: TopicPartition) -> str:
    return f"{tp.topic}[{tp.partition}]"
