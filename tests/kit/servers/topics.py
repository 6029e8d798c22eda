"""Creates topics on a test broker and waits until all brokers know them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PATIENCE_S = 120.0  # bounds waits on a busy machine


@asynccontextmanager
async def administering(bootstrap: Sequence[str]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(bootstrap))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def make_topics(bootstrap: Sequence[str], topics: Sequence[NewTopic]) -> None:
    """Afterwards every broker's metadata has a leader for each partition."""
    async with administering(bootstrap) as admin:
        made = await admin.create_topics([*topics])
        refused = {name: code for name, code, *_ in made.topic_errors if code}
        if refused:
            raise RuntimeError(f"the broker makes no {refused}")
        with anyio.fail_after(PATIENCE_S):
            while not await _seen(admin, topics):
                await anyio.sleep(0.02)


async def _seen(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic]) -> bool:
    seen = {topic["topic"]: topic for topic in await admin.describe_topics([topic.name for topic in topics])}
    return all(
        seen[topic.name]["error_code"] == 0
        and len(seen[topic.name]["partitions"]) == topic.num_partitions
        and all(partition["error_code"] == 0 for partition in seen[topic.name]["partitions"])
        for topic in topics
    )
