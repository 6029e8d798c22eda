"""Questions about the log that belong to no reader: where partitions begin and end, and what a group committed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from airy.bus.kafka.client import bounded, connection, dispose, started
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import TopicPartition
from airy.errors import Unavailable

NEVER = -1


class Ends:
    """One client of each kind, made when first needed, and anew after one that failed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._making = asyncio.Lock()

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
        admin = await self._admins()
        name = self._settings.named(group)
        try:
            found = await bounded(
                admin.list_consumer_group_offsets(name, partitions=list(wire)), self._settings.call_s,
                f"asking what {name!r} committed",
            )  # fmt: skip
        except Unavailable:
            await self.forget()
            raise
        return {wire[where]: meta.offset for where, meta in found.items() if meta.offset > NEVER}

    async def forget(self) -> None:
        """Drop the clients; the next question makes new ones."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await dispose(consumer, self._settings)
        if admin is not None:
            await dispose(_Admin(admin), self._settings)

    async def _offsets(
        self, partitions: Iterable[TopicPartition],
        ask: Callable[[AIOKafkaConsumer, list[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]], what: str,
    ) -> dict[TopicPartition, int]:  # fmt: skip
        wire = {self._wire(where): where for where in partitions}
        if not wire:
            return {}
        consumer = await self._consumers()
        doing = f"asking for the {what} of {next(iter(wire)).topic}"
        try:
            found = await bounded(ask(consumer, list(wire)), self._settings.call_s, doing)
        except Unavailable:
            await self.forget()
            raise
        return {where: found[partition] for partition, where in wire.items()}

    async def _consumers(self) -> AIOKafkaConsumer:
        async with self._making:
            if self._consumer is None:
                self._consumer = await started(lambda: AIOKafkaConsumer(**connection(self._settings)), self._settings)
            return self._consumer

    async def _admins(self) -> AIOKafkaAdminClient:
        async with self._making:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**connection(self._settings))
                await started(lambda: _Admin(admin), self._settings)
                self._admin = admin
            return self._admin

    def _wire(self, where: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.named(where.topic), where.partition)


class _Admin:
    """The admin client under the names of the others."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def start(self) -> None:
        await self._admin.start()

    async def stop(self) -> None:
        await self._admin.close()
