"""Larger fetches: after a small response with records, the next fetch request is delayed, so that more accumulate.

aiokafka sends the next fetch request as soon as something was read. At some hundred records a second a response then
holds one record, request and response name every partition, and the reader does per record what it could do per
batch. The first record after a pause is not delayed, because its request is at the broker already; a reader that
catches up gets large responses, after which the next request is sent at once.
"""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.fetch import FetchRequest

LARGE_BYTES: Final = 65_536  # from this size on, the next request is not delayed


def with_fetch_delay(consumer: AIOKafkaConsumer, delay_s: float) -> AIOKafkaConsumer:
    """The consumer, changed to fetch from a broker not sooner than `delay_s` after a small response."""
    client = consumer._client  # noqa: SLF001 - the client has no setting for this
    send = client.send
    loop = asyncio.get_running_loop()
    answered_at: dict[Any, float] = {}  # by broker, when its last response was small and not empty

    async def send_later(node: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        if not isinstance(request, FetchRequest):
            return await send(node, request, group=group)
        wait_s = answered_at.pop(node, float("-inf")) + delay_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        response = await send(node, request, group=group)
        if 0 < fetched_bytes(response) < LARGE_BYTES:
            answered_at[node] = loop.time()
        return response

    client.send = send_later
    return consumer


def fetched_bytes(response: Any) -> int:
    """Bytes of records: the last field of each partition, in every version of the protocol."""
    return sum(len(partition[-1]) for _, partitions in response.topics for partition in partitions)
