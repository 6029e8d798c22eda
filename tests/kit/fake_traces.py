"""The trace of a message of ours, as `messages.trace` gives it."""

from typing import Any

EVENTS = "application.communication.events"
SECOND = "2026-01-01T09:30:00"
HERE = "bakery-1:8080"


def hop(kind: str, ms: int | None = None, since_ms: int | None = None, **more: Any) -> dict[str, Any]:
    """`ms`: within a second of one minute; None: no time is kept."""
    at = None if ms is None else f"{SECOND[:-2]}{ms // 1000:02}.{ms % 1000:03}Z"
    known: dict[str, Any] = {
        "outcome": "stored",
        "took_ms": None,
        "topic": EVENTS,
        "partition": 7,
        "offset": None,
        "detail": {},
    }
    return {"kind": kind, "at": at, "since_previous_ms": since_ms, **known, **more}


def fact(kind: str, ms: int, since_ms: int | None, offset: int, **value: Any) -> dict[str, Any]:
    return hop(kind, ms, since_ms, offset=offset, detail={"key": "c-3", "size_bytes": 300, "value": value})


def attempt(ms: int, since_ms: int, outcome: str, status: int, number: int) -> dict[str, Any]:
    place = {"topic": "ops.webhooks.attempts", "partition": 1, "offset": 407 + number}
    detail = {"event": "message.created", "webhook": "crm", "status": status, "attempt": number}
    return hop("delivery.attempt", ms, since_ms, outcome=outcome, took_ms=31, detail=detail, **place)


def sent(message_id: str = "m-3-1", text: str = "Yes, from Thursday on.") -> dict[str, Any]:
    """A message that the provider refused once, took and delivered."""
    message = {
        "id": message_id,
        "content": {"text": text},
        "sent_at": f"{SECOND}.100Z",
        "delivery_state": "delivered",
        "from_contact": False,
        "source": "facebook",
        "metadata": {"source": {"delivery_state": "delivered", "id": "m_71"}},
    }
    processes = [{"instance": HERE, "folded": True}, {"instance": "bakery-2:8080", "folded": False}]
    receipt = {"topic": "source.facebook.events", "partition": 3, "detail": {"key": "page-1", "size_bytes": 412}}
    hops = [
        fact("message.queued", 100, None, 1204, sender_id="grace@example.net"),
        hop("fold", 104, 4, outcome="waiting", offset=1204, detail={"processes": processes}),
        hop("store", 109, 5, outcome="committed", offset=1204, took_ms=5, detail={"instance": HERE, "records": 3}),
        hop("events.broadcast", 111, 2, outcome="broadcast", offset=1204, detail={"subscribers": 2, "cut": 0}),
        hop("webhooks.queued", 117, 6, outcome="queued", offset=1204, detail={"changes": [{}, {}]}),
        fact("send.started", 148, 31, 1205, attempt=1, worker="bakery-1"),
        attempt(160, 12, "retry", 503, 1),
        fact("send.failed", 690, 530, 1207, attempt=1, error_kind="rate", error="too many calls"),
        fact("send.started", 1_702, 1_012, 1209, attempt=2, worker="bakery-1"),
        fact("send.succeeded", 1_951, 249, 1210, attempt=2, provider_id="m_71"),
        attempt(2_210, 259, "delivered", 204, 2),
        hop("webhook.received", 2_460, 250, offset=881, **receipt),
        fact("receipt.reported", 2_474, 14, 1214, state="delivered"),
    ]
    return {
        "message": message,
        "conversation_id": "c-3",
        "channel_id": "ch-1",
        "complete": True,
        "hops": hops,
    }
