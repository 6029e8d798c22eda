"""The figures of a single webhook."""

from typing import Any

import apsw

from airy.queue.api import OLDEST_HEADS_MAX, FailureStreak, WebhookBacklog
from airy.queue.sqlite import sql


def read_backlog(database: apsw.Connection, webhook_id: str, now_ms: int) -> WebhookBacklog:
    row: Any = database.execute(sql.BACKLOG, (webhook_id,)).get
    if row is None:
        return WebhookBacklog(0, 0, None, None, None)
    number, jobs, leased, since_ms, failures = row
    oldest_at_ms = database.execute(sql.OLDEST_OF_WEBHOOK, (number, OLDEST_HEADS_MAX)).get if jobs else None
    retry_at_ms = database.execute(sql.NEXT_RETRY, (number, now_ms)).get if jobs else None
    failing = FailureStreak(since_ms, failures) if failures else None
    return WebhookBacklog(jobs - leased, leased, oldest_at_ms, retry_at_ms, failing)
