"""Webhook ids as the small numbers that the tables refer to them by, cached."""

import apsw

from airy.queue.sqlite import sql


class WebhookNumbers:
    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def number(self, database: apsw.Connection, webhook_id: str) -> int:
        """Assigns one, if the webhook is new, in the transaction of `database`."""
        number = self._numbers.get(webhook_id)
        if number is None:
            number = self._numbers[webhook_id] = database.execute(sql.WEBHOOK, (webhook_id,)).get
        return number

    def id(self, database: apsw.Connection, number: int) -> str:
        webhook_id = self._ids.get(number)
        if webhook_id is None:
            webhook_id = self._ids[number] = database.execute(sql.WEBHOOK_NAME, (number,)).get
        return webhook_id

    def clear(self) -> None:
        """After a rollback or a wipe: numbers read in it may not exist."""
        self._numbers.clear()
        self._ids.clear()
