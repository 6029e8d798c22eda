"""Questions about the log that belong to no reader: where partitions begin and end, and what a group committed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from airy.bus.kafka.client import bounded, connection
from airy.bus.kafka.failure import MAKE
from airy.bus.kafka.kept import Kept
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import TopicPartition
from airy.errors import Unavailable

NEVER = -1


class Ends:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumers = Kept(lambda: AIOKafkaConsumer(**connection(settings)), settings)
        self._admins = Kept(lambda: _Admin(settings), settings)

    async def of(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset to be written, of each."""
        return await self._offsets(partitions, lambda consumer, wire: consumer.end_offsets(wire), "ends")

    async def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is kept, of each."""
        return await self._offsets(partitions, lambda consumer, wire: consumer.beginning_offsets(wire), "starts")

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset to read, of those that have one."""
        wire = {self._wire(where): where for where in partitions}
        if not wire:
            return {}
        name = self._settings.named(group)
        doing = f"asking what {name!r} committed"
        client = await self._admins.get(self._settings.call_s)
        call = client.admin.list_consumer_group_offsets(name, partitions=list(wire))
        try:
            found = await bounded(call, self._settings.call_s, doing)
        except Unavailable:
            self._admins.drop(client)
            raise
        if found.keys() != wire.keys():  # a coordinator that just took over says so, and names no partition
            raise Unavailable(f"{doing}: the cluster does not know at the moment")
        return {wire[where]: meta.offset for where, meta in found.items() if meta.offset > NEVER}

    async def close(self) -> None:
        await self._consumers.close()
        await self._admins.close()

    async def _offsets(
        self,
        partitions: Iterable[TopicPartition],
        ask: Callable[[AIOKafkaConsumer, list[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]],
        what: str,
    ) -> dict[TopicPartition, int]:
        wire = {self._wire(where): where for where in partitions}
        if not wire:
            return {}
        consumer = await self._consumers.get(self._settings.call_s)
        doing = f"asking for the {what} of {next(iter(wire)).topic}"
        try:
            found = await bounded(ask(consumer, list(wire)), self._settings.call_s, doing)
        except Unavailable as error:
            self._consumers.drop(consumer)
            unknown = {topic for topic, _ in wire if consumer.partitions_for_topic(topic) is None}
            if unknown:
                raise Unavailable(f"{error}; the cluster knows no {', '.join(sorted(unknown))}; {MAKE}") from error
            raise
        return {where: found[partition] for partition, where in wire.items()}

    def _wire(self, where: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.named(where.topic), where.partition)


class _Admin:
    """The admin client under the names of the others."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.admin = AIOKafkaAdminClient(**connection(settings))

    async def start(self) -> None:
        await self.admin.start()

    async def stop(self) -> None:
        await self.admin.close()
