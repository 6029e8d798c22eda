"""A shorter time-out for every request of a consumer except joining its group.

aiokafka has one time-out for all requests. The answer to a join comes when the slowest member has given up its
partitions, so a short time-out would abort such joins for ever. With a long one, a heartbeat on a dead connection
fails only after the group has assigned the partitions to another member.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest


def with_request_timeout(consumer: AIOKafkaConsumer, within_s: float) -> AIOKafkaConsumer:
    """The consumer, changed to close a connection that does not answer within `within_s`, unless it is joining."""
    client = consumer._client  # noqa: SLF001 - the client has one time-out for everything
    send = client.send

    async def send_within(node: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        if isinstance(request, JoinGroupRequest | SyncGroupRequest):
            return await send(node, request, group=group)
        try:
            async with asyncio.timeout(within_s):
                return await send(node, request, group=group)
        except TimeoutError:
            connection = client._conns.get((node, group))  # noqa: SLF001 - as the client does after its own time-out
            if connection is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from None

    client.send = send_within
    return consumer
