"""The newest attempts of each webhook, for operators."""

from collections.abc import Sequence
from typing import Any

import msgspec

from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import newest_attempts
from airy.queue.sqlite import sql
from airy.queue.sqlite.file import QueueFile
from airy.queue.sqlite.webhook_numbers import WebhookNumbers

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeliveryAttempt).decode


class AttemptTable:
    def __init__(self, file: QueueFile, webhooks: WebhookNumbers) -> None:
        self._file = file
        self._webhooks = webhooks

    def keep(self, attempts: Sequence[DeliveryAttempt], kept_max: int) -> None:
        with self._file.writing() as database:
            for webhook_id, newest in newest_attempts(attempts, kept_max).items():
                number = self._webhooks.number(database, webhook_id)
                database.executemany(sql.KEEP_ATTEMPT, [(number, _encode(one)) for one in newest])
                database.execute(sql.FORGET_OLDER_ATTEMPTS, (number, kept_max))

    def of(self, webhook_id: str, attempts_max: int) -> list[DeliveryAttempt]:
        """Newest first."""
        with self._file.reading() as database:
            rows: Any = database.execute(sql.ATTEMPTS, (webhook_id, attempts_max)).fetchall()
        return [_decode(value) for (value,) in rows]

    def forget(self, webhook_id: str) -> None:
        with self._file.writing() as database:
            database.execute(sql.FORGET_ATTEMPTS, (webhook_id,))
