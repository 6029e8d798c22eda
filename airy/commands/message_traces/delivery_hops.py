"""The hops of deliveries: into the webhook queue, each attempt, what waits and what is dead. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from airy.bus.record import Position
from airy.commands.message_traces.attempt_search import FoundAttempt
from airy.commands.message_traces.fact_changes import ExpectedDelivery, FactChanges, rendered_changes
from airy.commands.message_traces.hop import Hop, Outcome
from airy.errors import Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.entity import Webhook
from airy.queue.api import QueuePosition

OUTCOMES: Mapping[str, Outcome] = {
    "delivered": "delivered",
    "retry": "retry",
    "dead": "dead",
    "disabled": "disabled",
    "failed": "failed",
}


def queued_hop(
    position: Position, facts: FactChanges, queue: QueuePosition | Unavailable, attempts: Iterable[FoundAttempt]
) -> Hop:
    """Whether the publisher has put the changes of a fact into the webhook queue; an attempt knows when."""
    outcome: Outcome = "unknown"
    detail: dict[str, object] = {"changes": rendered_changes(facts)}
    if isinstance(queue, Unavailable):
        detail["error"] = str(queue)
    else:
        outcome = "queued" if queue.last[0] >= position.offset else "waiting"
        detail |= {
            "queue_offset": queue.last[0],
            "delivered_below_offset": queue.low_water[0],
            "settled": queue.low_water[0] > position.offset,
        }
    times = [each.attempt.queued_at_ms for each in attempts if each.offset == position.offset]
    return Hop(
        kind="webhooks.queued",
        outcome=outcome,
        at_ms=min((at_ms for at_ms in times if at_ms is not None), default=None),
        position=position,
        detail=detail,
        caused_by=position.offset,
    )


def attempt_hops(found: Iterable[FoundAttempt], webhooks: Mapping[str, Webhook]) -> list[Hop]:
    return [_attempt(each, webhooks.get(each.attempt.webhook_id)) for each in found]


def _attempt(found: FoundAttempt, webhook: Webhook | None) -> Hop:
    attempt = found.attempt
    return Hop(
        kind="delivery.attempt",
        outcome=OUTCOMES[attempt.outcome],
        at_ms=attempt.at_ms,
        position=found.position,
        took_ms=attempt.took_ms,
        detail={
            **_delivery(attempt.id, attempt.event_id, attempt.kind, attempt.webhook_id, webhook),
            "attempt": attempt.attempt,
            "status": attempt.status,
            "error": attempt.error or None,
            "response": attempt.response or None,
            "again_at_ms": attempt.again_at_ms,
        },
        caused_by=found.offset,
    )


def waiting_hops(waiting: Iterable[ExpectedDelivery], webhooks: Mapping[str, Webhook]) -> list[Hop]:
    """Deliveries without an attempt."""
    return [
        Hop(
            kind="delivery.waiting",
            outcome="waiting",
            detail=_delivery(each.id, each.event_id, each.kind, each.webhook_id, webhooks.get(each.webhook_id)),
            caused_by=each.offset,
        )
        for each in waiting
    ]


def dead_hops(dead: Sequence[tuple[int, DeadDelivery]], webhooks: Mapping[str, Webhook]) -> list[Hop]:
    """`dead`: with the offset of the fact that caused the change."""
    return [
        Hop(
            kind="delivery.dead",
            outcome="dead" if one.replay_requested_at_ms is None else "replayed",
            at_ms=one.died_at_ms,
            detail={
                **_delivery(one.delivery_id, one.event_id, one.kind, one.webhook_id, webhooks.get(one.webhook_id)),
                "attempts": one.attempts,
                "reason": one.reason,
                "replay_requested_at_ms": one.replay_requested_at_ms,
            },
            caused_by=offset,
        )
        for offset, one in dead
    ]


def unattempted(
    facts: Iterable[FactChanges], attempts: Iterable[DeliveryAttempt], queue: QueuePosition | Unavailable
) -> list[ExpectedDelivery]:
    """Expected deliveries without an attempt, of changes that the queue has not finished."""
    attempted = {each.id for each in attempts}
    finished_below = -1 if isinstance(queue, Unavailable) else queue.low_water[0]
    return [
        one
        for each in facts
        if each.changes
        for one in each.expected
        if one.id not in attempted and one.offset >= finished_below
    ]


def _delivery(
    delivery_id: str, event_id: str, kind: str, webhook_id: str, webhook: Webhook | None
) -> dict[str, object]:
    return {
        "delivery_id": delivery_id,
        "event_id": event_id,
        "event": kind,
        "webhook_id": webhook_id,
        "webhook": None if webhook is None else webhook.name or webhook.url,
    }
