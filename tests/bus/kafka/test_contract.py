"""The Kafka bus keeps the contract, against a real broker."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from msgspec.structs import replace

from airy.bus import Bus, Topic
from airy.bus.kafka import KafkaBus, KafkaSettings
from tests.kit.bus import running
from tests.kit.contracts.bus import BusContract, Topics
from tests.kit.servers.topics import administering, make_topics

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("real_time")]


class TestKafkaBus(BusContract):
    quiet_s = 0.3
    session_s = 2.0
    rebalance_s = 3.0
    busy = True

    @pytest.fixture(params=["asyncio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """aiokafka needs asyncio."""
        return str(request.param)

    @pytest.fixture(autouse=True)
    def _place(self, kafka: Any) -> None:
        self.settings = KafkaSettings(
            bootstrap=tuple(kafka.bootstrap),
            namespace=f"contract-{secrets.token_hex(4)}",
            session_s=30.0,
            rebalance_s=self.patience_s,
            request_s=self.patience_s,
            publish_s=self.patience_s,
            call_s=self.patience_s,
            stall_s=self.patience_s,
            stop_s=10.0,
            record_bytes_max=self.record_bytes_max,
        )

    @asynccontextmanager
    async def serving(self, topics: Topics, *, short_timeouts: bool = False) -> AsyncIterator[Bus]:
        limits = {"session_s": self.session_s, "rebalance_s": self.rebalance_s} if short_timeouts else {}
        await make_topics(self.settings.bootstrap, [self.wanted(topic) for topic in topics])
        async with running(KafkaBus(topics, replace(self.settings, **limits))) as bus:
            yield bus

    def wanted(self, topic: Topic[Any]) -> NewTopic:
        configs = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"} if topic.retention == "compacted" else {}
        policy = "compact" if topic.retention == "compacted" else "delete"
        return NewTopic(
            self.settings.wire_name(topic.name),
            topic.partitions,
            1,
            topic_configs={"cleanup.policy": policy, **configs},
        )

    async def compact(self, bus: Bus, topic: Topic[Any]) -> None:
        """The log cleaner runs at any time: records that must stay are there before, during and after it."""

    async def truncate(self, bus: Bus, topic: Topic[Any]) -> None:
        ends = await bus.end_offsets([topic])
        async with administering(self.settings.bootstrap) as admin:
            await admin.delete_records(
                {
                    KafkaPartition(self.settings.wire_name(tp.topic), tp.partition): RecordsToDelete(before_offset=end)
                    for tp, end in ends.items()
                }
            )
