"""The newest attempts of each webhook, for operators: a stream per webhook, bounded as it is written."""

from collections.abc import Sequence
from typing import Any

import msgspec

from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import newest_attempts
from airy.queue.redis.connection import RedisConnection, command
from airy.queue.redis.keys import KeyNames

FIELD = "a"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeliveryAttempt).decode


class AttemptStreams:
    def __init__(self, connection: RedisConnection, names: KeyNames) -> None:
        self._connection = connection
        self._names = names

    async def keep(self, attempts: Sequence[DeliveryAttempt], kept_max: int) -> None:
        await self._connection.execute(
            [
                command("XADD", self._names.attempts(webhook_id), "MAXLEN", "=", kept_max, "*", FIELD, _encode(one))
                for webhook_id, newest in newest_attempts(attempts, kept_max).items()
                for one in newest
            ]
        )

    async def of(self, webhook_ids: Sequence[str], attempts_max: int) -> list[list[DeliveryAttempt]]:
        """Per webhook, newest first."""
        names = map(self._names.attempts, webhook_ids)
        queries = [command("XREVRANGE", name, "+", "-", "COUNT", attempts_max) for name in names]
        replies: list[Any] = await self._connection.execute(queries) if queries else []
        return [[_decode(fields[FIELD.encode()]) for _, fields in reply] for reply in replies]

    async def forget(self, webhook_id: str) -> None:
        await self._connection.execute_one(command("DEL", self._names.attempts(webhook_id)))
