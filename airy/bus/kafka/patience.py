"""How long a member of a group waits for an answer: as long as the others may take to let go, but only for a join.

The client has one limit for all requests. A short one gives up every join that is slow for a reason, and joins for
ever; with a long one a heart that beats into a dead connection is noticed when somebody else has the partitions.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest


def impatient(consumer: AIOKafkaConsumer, within_s: float) -> AIOKafkaConsumer:
    """The consumer, made for the patience of a join: all else has an answer after `within_s`, or a new connection."""
    client = consumer._client  # noqa: SLF001 - there is one limit for everything
    send = client.send

    async def sent(node: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        if isinstance(request, JoinGroupRequest | SyncGroupRequest):
            return await send(node, request, group=group)
        try:
            async with asyncio.timeout(within_s):
                return await send(node, request, group=group)
        except TimeoutError:
            connection = client._conns.get((node, group))  # noqa: SLF001 - as the client does after its own limit
            if connection is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from None

    client.send = sent
    return consumer
