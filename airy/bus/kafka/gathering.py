"""Records in batches: a fetch that follows a small one with records waits a moment, so that more have come.

The client asks again as soon as something was read, and gets what came meanwhile: at some hundred records a second that
is one at a time, with every partition named in question and answer, and whoever reads them does for each what could be
done for many. The first record after a silence waits for nothing, for the question is with the broker by then; and who
catches up gets large answers, which are asked for at once.
"""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.fetch import FetchRequest

LARGE_BYTES: Final = 65_536  # as much as this is worth asking for at once


def gathering(consumer: AIOKafkaConsumer, within_s: float) -> AIOKafkaConsumer:
    """The consumer, made to ask a broker not sooner than `within_s` after a small answer."""
    client = consumer._client  # noqa: SLF001 - the client asks as it likes
    send = client.send
    loop = asyncio.get_running_loop()
    answered_at: dict[Any, float] = {}  # by broker, when its latest answer was small and not empty

    async def sent(node: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        if not isinstance(request, FetchRequest):
            return await send(node, request, group=group)
        wait_s = answered_at.pop(node, float("-inf")) + within_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        answer = await send(node, request, group=group)
        if 0 < fetched_bytes(answer) < LARGE_BYTES:
            answered_at[node] = loop.time()
        return answer

    client.send = sent
    return consumer


def fetched_bytes(answer: Any) -> int:
    """Of records; the last field of each partition, in every version of the protocol."""
    return sum(len(partition[-1]) for _, partitions in answer.topics for partition in partitions)
