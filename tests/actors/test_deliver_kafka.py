"""`deliver` on a real Kafka."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from airy.bus.api import Bus
from airy.bus.kafka import KafkaBus, KafkaSettings
from tests.kit.bus import running
from tests.kit.contracts.deliver import TOPICS, DeliverContract
from tests.kit.servers.topics import make_topics

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("real_time")]


class TestKafka(DeliverContract):
    within_s = 60.0
    quiet_s = 2.0
    session_s = 2.0

    @pytest.fixture(params=["asyncio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """aiokafka needs asyncio."""
        return str(request.param)

    @pytest.fixture(autouse=True)
    def _place(self, kafka: Any) -> None:
        self.settings = KafkaSettings(
            bootstrap=tuple(kafka.bootstrap),
            namespace=f"deliver-{secrets.token_hex(4)}",
            session_s=self.session_s,
            rebalance_s=10.0,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bus]:
        new = [NewTopic(self.settings.wire_name(topic.name), topic.partitions, 1) for topic in TOPICS]
        await make_topics(self.settings.bootstrap, new)
        async with running(KafkaBus(TOPICS, self.settings)) as bus:
            yield bus
