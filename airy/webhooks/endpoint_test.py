"""The event that tests an endpoint: shaped and signed as every other, of a type that no change has. Pure."""

import msgspec

from airy.model.delivery_attempt import TEST_KIND, DeliveryAttempt
from airy.model.render import timestamp
from airy.queue.api import NO_ENTRY, Job, QueueEntry
from airy.webhooks.retry import AttemptOutcome


def job_of_test(webhook_id: str, event_id: str, now_ms: int) -> Job:
    """A job that is in no queue: nothing waits for it, and it waits for nothing."""
    body = {
        "id": event_id,
        "type": TEST_KIND,
        "timestamp": now_ms,
        "sequence": 0,
        "payload": {"webhook_id": webhook_id, "requested_at": timestamp(now_ms)},
    }
    entry = QueueEntry(
        id=NO_ENTRY,
        webhook_ids=(webhook_id,),
        lane=webhook_id,
        event_id=event_id,
        kind=TEST_KIND,
        body=msgspec.json.encode(body),
        at_ms=now_ms,
        position="",
    )
    return Job(f"{event_id}:{webhook_id}", "", webhook_id, entry, 1, now_ms, now_ms)


def attempt_of_test(job: Job, outcome: AttemptOutcome, took_ms: int, response: str) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=job.id,
        webhook_id=job.webhook_id,
        event_id=job.entry.event_id,
        kind=TEST_KIND,
        attempt=1,
        at_ms=job.first_at_ms,
        took_ms=took_ms,
        result="delivered" if outcome.succeeded else "failed",
        status=outcome.status,
        error=outcome.error,
        response=response,
    )
