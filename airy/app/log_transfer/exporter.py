"""Exports the log of a stopped installation as an archive: every topic, and the committed positions of groups.

Webhooks are last, because their records hold positions in the topics before them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from airy import topics
from airy.app.log_transfer.group_offsets import GROUPS, committed
from airy.app.log_transfer.ordinals import Ordinals, by_partition, subscription_starts, with_converted_starts
from airy.app.log_transfer.read_partitions import read_partitions
from airy.app.progress import OnProgress, no_progress
from airy.bus.api import Bus
from airy.bus.log_archive import ArchiveWriter, GroupOrdinal, archived_record
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

Write = Callable[[bytes], Awaitable[object]]

ORDER: tuple[Topic[Any], ...] = (
    *(topic for topic in topics.ALL if topic.name not in topics.OF_PROCESSES and topic is not topics.WEBHOOKS),
    topics.WEBHOOKS,
)
"""Without heartbeats and log lines: the target log has other processes."""


class ArchiveSummary(Struct, frozen=True):
    records: int
    group_ordinals: int = field(name="places")  # committed positions; named as in the archive
    sha256: str


async def export_log(bus: Bus, write: Write, *, on_progress: OnProgress = no_progress) -> ArchiveSummary:
    """Raises `Refused` if the log was written to meanwhile; the archive then lacks its end and is not accepted."""
    starts, ends = await bus.beginning_offsets(ORDER), await bus.end_offsets(topics.ALL)
    offsets = {group: await committed(bus, group) for group in GROUPS}
    subscriptions = await _subscription_starts(bus, starts, ends)
    wanted = by_partition([*subscriptions, *(each for group in offsets.values() for each in group.items())])
    ordinals, archive = Ordinals(wanted), ArchiveWriter(ORDER)
    await write(archive.header())
    for tp in (tp for topic in ORDER for tp in topic.topic_partitions):
        ordinals.begin(tp)
        async with aclosing(read_partitions(bus, starts, {tp: ends[tp]})) as batches:
            async for records in batches:
                for record in records:
                    ordinals.passed(record.offset)
                    if block := archive.add(tp, archived_record(_with_ordinals(record, ordinals))):
                        await write(block)
                on_progress(tp.topic, len(records))
        ordinals.end()
    for group in GROUPS:
        for tp, offset in sorted(offsets[group].items()):
            await write(archive.add_group_ordinal(GroupOrdinal(group, *tp, ordinals(tp, offset))))
    if await bus.end_offsets(topics.ALL) != ends:
        raise Refused("the log was written to while it was exported: stop every process of Airy, then export again")
    await write(archive.end())
    return ArchiveSummary(archive.records, archive.group_ordinals, archive.sha256)


async def _subscription_starts(
    bus: Bus, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Iterable[tuple[TopicPartition, int]]:
    """Of all webhooks, each position once."""
    found: dict[tuple[TopicPartition, int], None] = {}
    webhooks = {tp: ends[tp] for tp in topics.WEBHOOKS.topic_partitions}
    async with aclosing(read_partitions(bus, starts, webhooks)) as batches:
        async for records in batches:
            found.update((start, None) for record in records for start in subscription_starts(record.value))
    return found


def _with_ordinals(record: Record, ordinals: Ordinals) -> Record:
    if record.topic != topics.WEBHOOKS.name:
        return record
    return replace(record, value=with_converted_starts(record.value, ordinals))
