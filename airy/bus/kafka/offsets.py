"""Beginning, end and committed offsets of partitions, asked without a reader."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from airy.bus.kafka.client import connection_options, with_deadline
from airy.bus.kafka.errors import APPLY_TOPICS
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.kafka.shared_client import SharedClient
from airy.bus.record import TopicPartition
from airy.errors import Unavailable

NONE_COMMITTED = -1


class OffsetQueries:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumers = SharedClient(lambda: AIOKafkaConsumer(**connection_options(settings)), settings)
        self._admins = SharedClient(lambda: _AdminClient(settings), settings)

    async def beginning(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset each partition still holds."""
        return await self._offsets(partitions, lambda consumer, wire: consumer.beginning_offsets(wire), "beginning")

    async def end(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset to be written in each partition."""
        return await self._offsets(partitions, lambda consumer, wire: consumer.end_offsets(wire), "end")

    async def at(self, partitions: Iterable[TopicPartition], at_ms: int) -> dict[TopicPartition, int]:
        """The first offset of each partition whose record is as new as `at_ms`; its end offset if none is."""

        async def ask(consumer: AIOKafkaConsumer, wire: list[KafkaPartition]) -> Mapping[KafkaPartition, int]:
            ends = await consumer.end_offsets(wire)  # first, or a record between the two questions would be missed
            found = await consumer.offsets_for_times(dict.fromkeys(wire, at_ms))
            return {tp: ends[tp] if found[tp] is None else found[tp].offset for tp in wire}

        return await self._offsets(partitions, ask, "time's")

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset to read; partitions without one are left out."""
        wire = {self._to_wire(tp): tp for tp in partitions}
        if not wire:
            return {}
        name = self._settings.wire_name(group)
        doing = f"asking for the committed offsets of {name!r}"
        client = await self._admins.get(self._settings.call_s)
        call = client.admin.list_consumer_group_offsets(name, partitions=list(wire))
        try:
            found = await with_deadline(call, self._settings.call_s, doing)
        except Unavailable:
            self._admins.drop(client)
            raise
        if found.keys() != wire.keys():  # the answer of a coordinator that is still loading the group
            raise Unavailable(f"{doing}: the coordinator does not know them yet")
        return {wire[tp]: meta.offset for tp, meta in found.items() if meta.offset > NONE_COMMITTED}

    async def close(self) -> None:
        await self._consumers.close()
        await self._admins.close()

    async def _offsets(
        self,
        partitions: Iterable[TopicPartition],
        ask: Callable[[AIOKafkaConsumer, list[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]],
        which: str,
    ) -> dict[TopicPartition, int]:
        wire = {self._to_wire(tp): tp for tp in partitions}
        if not wire:
            return {}
        consumer = await self._consumers.get(self._settings.call_s)
        doing = f"asking for the {which} offsets of {next(iter(wire)).topic}"
        try:
            found = await with_deadline(ask(consumer, list(wire)), self._settings.call_s, doing)
        except Unavailable as error:
            self._consumers.drop(consumer)
            unknown = {topic for topic, _ in wire if consumer.partitions_for_topic(topic) is None}
            if unknown:
                names = ", ".join(sorted(unknown))
                raise Unavailable(f"{error}; there is no topic {names}; {APPLY_TOPICS}") from error
            raise
        return {tp: found[partition] for partition, tp in wire.items()}

    def _to_wire(self, tp: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.wire_name(tp.topic), tp.partition)


class _AdminClient:
    """Adapts the admin client to `Client`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.admin = AIOKafkaAdminClient(**connection_options(settings))

    async def start(self) -> None:
        await self.admin.start()

    async def stop(self) -> None:
        await self.admin.close()
