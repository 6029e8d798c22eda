"""An outbound message is sent once, or has a recorded reason why not."""

import msgspec
import pytest

from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from tests.kit.builders import Chat
from tests.kit.fold import ReferenceFold, fold_all


def queued(chat: Chat) -> list[Fact]:
    return [chat.received("a"), chat.queued("x")]


def outbound(reference: ReferenceFold, chat: Chat) -> Message:
    return reference.message(chat.conversation_id, chat.outbound_id("x"))


def shown_metadata(reference: ReferenceFold) -> dict[str, object]:
    """Of the message in the last `message.updated`."""
    body = next(change.body for change in reversed(reference.changes) if change.kind == "message.updated")
    metadata: dict[str, object] = msgspec.json.decode(body)["payload"]["message"]["metadata"]
    return metadata


def test_the_first_claim_of_an_attempt_wins() -> None:
    chat = Chat()
    facts = [*queued(chat), chat.started("x", worker="w1", at_ms=500), chat.started("x", worker="w2", at_ms=501)]
    reference = fold_all(facts)
    message = outbound(reference, chat)
    assert list(reference.accepted.values()) == [True, True, True, False]
    assert (message.delivery, message.worker, message.attempt, message.attempt_at_ms) == (
        DeliveryState.SENDING,
        "w1",
        1,
        500,
    )


@pytest.mark.parametrize("attempt", [0, 2, 3])
def test_a_claim_of_any_other_number_is_rejected(attempt: int) -> None:
    chat = Chat()
    assert not fold_all(queued(chat)).fold(chat.started("x", attempt)).accepted


def test_a_claim_makes_no_change() -> None:
    chat = Chat()
    reference = fold_all(queued(chat))
    assert reference.fold(chat.started("x")).changes == ()


def test_success_sets_sent_and_the_provider_id() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="p")])
    message = outbound(reference, chat)
    assert (message.delivery, message.provider_id, message.worker) == (DeliveryState.SENT, chat.provider_id("p"), None)
    assert shown_metadata(reference) == {"source": {"id": chat.provider_id("p"), "delivery_state": "sent"}}


def test_a_provider_id_of_another_message_is_not_reassigned() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="a")])
    assert (outbound(reference, chat).delivery, outbound(reference, chat).provider_id) == (DeliveryState.SENT, None)
    assert reference.message(chat.conversation_id, chat.inbound_id("a")).provider_id == chat.provider_id("a")


def test_a_failure_has_an_error() -> None:
    chat = Chat()
    facts = [*queued(chat), chat.started("x"), chat.failed("x", detail={"error": {"code": 10}}, error_kind="window")]
    reference = fold_all(facts)
    assert outbound(reference, chat).delivery is DeliveryState.FAILED
    assert shown_metadata(reference) == {
        "error": "the page is not allowed to answer",
        "source": {
            "error": {"error": {"code": 10}},
            "error_code": "10",
            "error_kind": "window",
            "attempts": 1,
            "delivery_state": "failed",
        },
    }


def test_a_message_that_waits_for_another_attempt_shows_why_and_until_when() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x")])
    failed = chat.failed("x", detail={"error": {"code": 4}}, error_kind="rate", retry_at_ms=9_000)
    assert reference.fold(failed).accepted
    message = outbound(reference, chat)
    assert (message.delivery, message.retry_at_ms, message.worker) == (DeliveryState.PENDING, 9_000, None)
    assert shown_metadata(reference) == {
        "error": "the page is not allowed to answer",
        "source": {
            "error": {"error": {"code": 4}},
            "error_code": "10",
            "error_kind": "rate",
            "attempts": 1,
            "next_attempt_at": "1970-01-01T00:00:09.000Z",
        },
    }
    assert reference.fold(chat.started("x", 2)).accepted
    assert (outbound(reference, chat).retry_at_ms, outbound(reference, chat).attempt_count) == (0, 2)


def test_an_attempt_makes_one_change_of_its_message() -> None:
    chat = Chat()
    reference = fold_all(queued(chat))
    updates = [
        sum(change.kind == "message.updated" for change in reference.fold(fact).changes)
        for fact in (
            chat.started("x"),
            chat.failed("x", error="busy", retry_at_ms=5_000),
            chat.started("x", 2),
            chat.failed("x", 2, error="busy", retry_at_ms=9_000),
            chat.started("x", 3),
            chat.succeeded("x", 3, provider="p"),
        )
    ]
    assert updates == [0, 1, 0, 1, 0, 1]
    assert shown_metadata(reference) == {"source": {"id": chat.provider_id("p"), "delivery_state": "sent"}}


@pytest.mark.parametrize("waits", [False, True])
def test_a_pending_message_can_be_cancelled(waits: bool) -> None:
    chat = Chat()
    reference = fold_all(queued(chat))
    if waits:
        reference.fold_all([chat.started("x"), chat.failed("x", error="busy", retry_at_ms=9_000)])
    assert reference.fold(chat.cancel("x")).accepted
    message = outbound(reference, chat)
    assert (message.delivery, message.retry_at_ms) == (DeliveryState.FAILED, 0)
    error = "cancelled before it was sent"
    if waits:
        source = {"error_kind": "cancelled", "attempts": 1, "delivery_state": "failed"}
        assert shown_metadata(reference) == {"error": f"{error}; the last attempt failed: busy", "source": source}
    else:
        source = {"error_kind": "cancelled", "delivery_state": "failed"}
        assert shown_metadata(reference) == {"error": error, "source": source}


def test_of_a_cancellation_and_a_claim_the_first_in_the_log_counts() -> None:
    chat = Chat()
    waiting = [*queued(chat), chat.started("x"), chat.failed("x", retry_at_ms=9_000)]
    cancel, claim = chat.cancel("x"), chat.started("x", 2)

    cancelled, claimed = fold_all([*waiting, cancel, claim]), fold_all([*waiting, claim, cancel])

    assert (cancelled.accepted[cancel.id], cancelled.accepted[claim.id]) == (True, False)
    assert outbound(cancelled, chat).delivery is DeliveryState.FAILED
    assert (claimed.accepted[claim.id], claimed.accepted[cancel.id]) == (True, False)
    assert outbound(claimed, chat).delivery is DeliveryState.SENDING


@pytest.mark.parametrize("state", ["sending", "unknown", "sent", "failed", "inbound", "deleted"])
def test_only_a_pending_message_is_cancelled(state: str) -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x")])
    cancel = chat.cancel("x")
    match state:
        case "unknown":
            reference.fold(chat.unknown("x"))
        case "sent":
            reference.fold(chat.succeeded("x", provider="p"))
        case "failed":
            reference.fold(chat.failed("x"))
        case "inbound":
            cancel = msgspec.structs.replace(cancel, message_id=chat.inbound_id("a"))
        case "deleted":
            reference.fold_all([chat.succeeded("x", provider="p"), chat.deleted("p")])
    assert not reference.fold(cancel).accepted


def test_a_cancelled_message_can_be_resent_and_no_earlier_claim_becomes_valid() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.cancel("x")])
    assert reference.fold(chat.resend("x")).accepted
    assert shown_metadata(reference) == {}
    assert not reference.fold(chat.started("x", 1)).accepted
    assert reference.fold(chat.started("x", 2)).accepted


def test_a_message_that_cannot_be_sent_fails_without_an_attempt() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.failed("x", 0, error_kind="expired")])
    assert outbound(reference, chat).delivery is DeliveryState.FAILED
    assert shown_metadata(reference)["source"]["error_kind"] == "expired"  # type: ignore[index]
    assert "attempts" not in shown_metadata(reference)["source"]  # type: ignore[operator]


def test_a_failure_without_a_claim_cannot_fail_the_attempt_of_another_worker() -> None:
    """Two workers saw the message pending: one claimed it, the other found it expired."""
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x")])
    assert not reference.fold(chat.failed("x", 0, error_kind="expired")).accepted
    assert outbound(reference, chat).delivery is DeliveryState.SENDING


def test_a_lost_response_is_unknown_with_a_reason() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    assert outbound(reference, chat).delivery is DeliveryState.UNKNOWN
    assert shown_metadata(reference) == {
        "source": {"unknown_reason": "the connection broke after the request was sent", "delivery_state": "unknown"}
    }


def test_an_unknown_message_is_never_claimed_again() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    assert not reference.fold(chat.started("x", 2)).accepted
    assert not reference.fold(chat.resend("x")).accepted


@pytest.mark.parametrize("late", ["sent", "failed", "to be retried"])
def test_a_late_outcome_settles_an_unknown_message(late: str) -> None:
    """The attempt is still open, so the outcome its worker records is accepted."""
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    facts: dict[str, tuple[Fact, DeliveryState]] = {
        "sent": (chat.succeeded("x", provider="p"), DeliveryState.SENT),
        "failed": (chat.failed("x"), DeliveryState.FAILED),
        "to be retried": (chat.failed("x", retry_at_ms=5), DeliveryState.PENDING),
    }
    fact, state = facts[late]
    assert reference.fold(fact).accepted
    assert outbound(reference, chat).delivery is state
    assert "source.unknown_reason" not in outbound(reference, chat).metadata


def test_an_attempt_has_one_outcome() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="p")])
    late: list[Fact] = [
        chat.failed("x"),
        chat.unknown("x"),
        chat.succeeded("x", provider="q"),
        chat.failed("x", retry_at_ms=1),
    ]
    assert not any(reference.fold(fact).accepted for fact in late)
    assert outbound(reference, chat).provider_id == chat.provider_id("p")


def test_an_outcome_of_an_unclaimed_attempt_is_rejected() -> None:
    chat = Chat()
    reference = fold_all(queued(chat))
    assert not reference.fold(chat.succeeded("x", 0)).accepted
    assert not reference.fold(chat.unknown("x", 0)).accepted
    assert not reference.fold(chat.failed("x", 1)).accepted


def test_only_a_failed_message_is_resent() -> None:
    chat = Chat()
    reference = fold_all(queued(chat))
    assert not reference.fold(chat.resend("x")).accepted
    reference.fold_all([chat.started("x"), chat.failed("x")])
    assert reference.fold(chat.resend("x", expires_at_ms=99)).accepted
    message = outbound(reference, chat)
    assert (message.delivery, message.metadata, message.expires_at_ms) == (DeliveryState.PENDING, {}, 99)
    assert shown_metadata(reference) == {}


def test_a_claim_made_before_a_resend_is_rejected_after_it() -> None:
    """A worker claimed attempt 2 while the message failed; the resend uses up that number."""
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.failed("x")])
    early = chat.started("x", 2, worker="w2")
    assert not reference.fold(early).accepted
    reference.fold(chat.resend("x"))
    assert not reference.fold(early).accepted
    assert not reference.fold(chat.started("x", 2, worker="w3")).accepted
    assert reference.fold(chat.started("x", 3)).accepted
    assert outbound(reference, chat).attempt_count == 2


def test_a_duplicate_resend_resends_once() -> None:
    chat = Chat()
    reference = fold_all([*queued(chat), chat.started("x"), chat.failed("x")])
    again = chat.resend("x")
    reference.fold_all([again, chat.started("x", 3), chat.failed("x", 3)])
    assert not reference.fold(again).accepted
    assert outbound(reference, chat).delivery is DeliveryState.FAILED


def test_a_duplicate_of_a_rejected_resend_stays_rejected() -> None:
    """The client got a rejection; a later duplicate must not turn it into an acceptance."""
    chat = Chat()
    reference = fold_all(queued(chat))
    early = chat.resend("x")
    reference.fold_all([early, chat.started("x"), chat.failed("x")])
    assert not reference.fold(early).accepted


def test_reports_about_the_old_attempt_do_not_change_the_new_one() -> None:
    chat = Chat()
    facts = [
        *queued(chat),
        chat.started("x"),
        chat.succeeded("x", provider="p"),
        chat.receipt(DeliveryState.FAILED, "p"),
    ]
    reference = fold_all([*facts, chat.resend("x"), chat.receipt(DeliveryState.READ, "p")])
    assert (outbound(reference, chat).delivery, outbound(reference, chat).failed_at_ms) == (DeliveryState.PENDING, 0)
    reference.fold_all([chat.started("x", 3), chat.succeeded("x", 3, provider="q")])
    assert (outbound(reference, chat).delivery, outbound(reference, chat).provider_id) == (
        DeliveryState.SENT,
        chat.provider_id("q"),
    )


def test_a_report_outweighs_a_recorded_failure() -> None:
    """In either order."""
    chat = Chat()
    begun = [*queued(chat), chat.started("x")]
    echo, failed = chat.echoed("p", ours="x"), chat.failed("x")
    assert outbound(fold_all([*begun, echo, failed]), chat).delivery is DeliveryState.SENT
    assert outbound(fold_all([*begun, failed, echo]), chat).delivery is DeliveryState.SENT


@pytest.mark.parametrize("name", ["a", "p"])
def test_only_queued_messages_are_sent(name: str) -> None:
    """Neither inbound messages nor messages sent by another app."""
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.echoed("p"), chat.receipt(DeliveryState.FAILED, "p")])
    claim = msgspec.structs.replace(chat.started("x"), message_id=chat.inbound_id(name))
    resend = msgspec.structs.replace(chat.resend("x"), message_id=chat.inbound_id(name))
    assert not reference.fold(claim).accepted
    assert not reference.fold(resend).accepted
