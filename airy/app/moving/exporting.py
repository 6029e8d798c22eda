"""The log of an installation that stands still, as an archive: every topic, and what consumer groups have dealt with.

Webhooks come last, because their records hold places in the topics before them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.app.moving.groups import GROUPS, committed
from airy.app.moving.places import Ordinals, moved, places_in, wanted
from airy.app.moving.reading import read
from airy.app.moving.watch import Watch, unwatched
from airy.bus.api import Bus
from airy.bus.archive import ArchiveWriter, Place, entry_of
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

Write = Callable[[bytes], Awaitable[object]]

ORDER: tuple[Topic[Any], ...] = (
    *(topic for topic in topics.ALL if topic not in (topics.COMPONENTS, topics.WEBHOOKS)),
    topics.WEBHOOKS,
)
"""What processes said of themselves stays behind: where the log goes, others run."""


class Moved(Struct, frozen=True):
    """What an archive holds."""

    records: int
    places: int
    sha256: str


async def export_log(bus: Bus, write: Write, *, watch: Watch = unwatched) -> Moved:
    """Raises `Refused` when somebody wrote to the log meanwhile, and be it how it is: the archive has no end then."""
    starts, ends = await bus.starts(ORDER), await bus.ends(topics.ALL)
    done = {group: await committed(bus, group) for group in GROUPS}
    begins = await _begins(bus, starts, ends)
    ordinals = Ordinals(wanted([*begins, *(place for group in done.values() for place in group.items())]))
    archive = ArchiveWriter(ORDER)
    await write(archive.head())
    for where in (where for topic in ORDER for where in topic.where):
        ordinals.begin(where)
        async with aclosing(read(bus, starts, {where: ends[where]})) as batches:
            async for records in batches:
                for record in records:
                    ordinals.passed(record.offset)
                    if block := archive.add(where, entry_of(_leaving(record, ordinals))):
                        await write(block)
                watch(where.topic, len(records))
        ordinals.end()
    for group in GROUPS:
        for where, offset in sorted(done[group].items()):
            await write(archive.place(Place(group, *where, ordinals(where, offset))))
    if await bus.ends(topics.ALL) != ends:
        raise Refused("the log was written to while it was exported: stop every process of Airy, then export again")
    await write(archive.end())
    return Moved(archive.records, archive.places, archive.sha256)


async def _begins(
    bus: Bus, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Iterable[tuple[TopicPartition, int]]:
    """Where subscriptions begin: few, and each once."""
    found: dict[tuple[TopicPartition, int], None] = {}
    webhooks = {where: ends[where] for where in topics.WEBHOOKS.where}
    async with aclosing(read(bus, starts, webhooks)) as batches:
        async for records in batches:
            found.update((place, None) for record in records for place in places_in(record.value))
    return found


def _leaving(record: Record, ordinals: Ordinals) -> Record:
    if record.topic != topics.WEBHOOKS.name:
        return record
    return replace(record, value=moved(record.value, ordinals))
