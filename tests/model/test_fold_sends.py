"""A message of ours is sent once, or somebody knows why not."""

import msgspec
import pytest

from airy.model.conversation import Message
from airy.model.delivery import Delivery
from airy.model.fact import Fact
from tests.kit.builders import Chat
from tests.kit.fold import Reference, fold_all


def queued(chat: Chat) -> list[Fact]:
    return [chat.received("a"), chat.queued("x")]


def ours(told: Reference, chat: Chat) -> Message:
    return told.message(chat.conversation_id, chat.outbound_id("x"))


def shown_metadata(told: Reference) -> dict[str, object]:
    """Of the message in the last `message.updated`."""
    body = next(change.body for change in reversed(told.changes) if change.kind == "message.updated")
    metadata: dict[str, object] = msgspec.json.decode(body)["payload"]["message"]["metadata"]
    return metadata


def test_the_first_claim_of_an_attempt_wins() -> None:
    chat = Chat()
    facts = [*queued(chat), chat.started("x", worker="w1", at_ms=500), chat.started("x", worker="w2", at_ms=501)]
    told = fold_all(facts)
    message = ours(told, chat)
    assert list(told.accepted.values()) == [True, True, True, False]
    assert (message.delivery, message.worker, message.attempt, message.attempt_at_ms) == (
        Delivery.SENDING,
        "w1",
        1,
        500,
    )


@pytest.mark.parametrize("attempt", [0, 2, 3])
def test_a_claim_of_any_other_number_is_rejected(attempt: int) -> None:
    chat = Chat()
    assert not fold_all(queued(chat)).fold(chat.started("x", attempt)).accepted


def test_a_claim_is_not_news_to_clients() -> None:
    chat = Chat()
    told = fold_all(queued(chat))
    assert told.fold(chat.started("x")).changes == ()


def test_success_is_sent_and_known_by_its_provider_id() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="p")])
    message = ours(told, chat)
    assert (message.delivery, message.provider_id, message.worker) == (Delivery.SENT, chat.provider_id("p"), None)
    assert shown_metadata(told) == {"source": {"id": chat.provider_id("p"), "delivery_state": "sent"}}


def test_a_provider_id_that_belongs_to_another_message_stays_there() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="a")])
    assert (ours(told, chat).delivery, ours(told, chat).provider_id) == (Delivery.SENT, None)
    assert told.message(chat.conversation_id, chat.inbound_id("a")).provider_id == chat.provider_id("a")


def test_a_failure_says_why() -> None:
    chat = Chat()
    facts = [*queued(chat), chat.started("x"), chat.failed("x", detail={"error": {"code": 10}}, error_kind="window")]
    told = fold_all(facts)
    assert ours(told, chat).delivery is Delivery.FAILED
    assert shown_metadata(told) == {
        "error": "the page is not allowed to answer",
        "source": {
            "error": {"error": {"code": 10}},
            "error_code": "10",
            "error_kind": "window",
            "attempts": 1,
            "delivery_state": "failed",
        },
    }


def test_a_failure_that_may_be_retried_waits_and_is_not_news_to_clients() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x")])
    folded = told.fold(chat.failed("x", retry_at_ms=9_000))
    message = ours(told, chat)
    assert (folded.accepted, folded.changes) == (True, ())
    assert (message.delivery, message.retry_at_ms, message.worker, message.metadata) == (
        Delivery.PENDING,
        9_000,
        None,
        {},
    )
    assert told.fold(chat.started("x", 2)).accepted
    assert (ours(told, chat).retry_at_ms, ours(told, chat).attempt_count) == (0, 2)


def test_a_message_that_cannot_be_sent_fails_without_an_attempt() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.failed("x", 0, error_kind="expired")])
    assert ours(told, chat).delivery is Delivery.FAILED
    assert shown_metadata(told)["source"]["error_kind"] == "expired"  # type: ignore[index]
    assert "attempts" not in shown_metadata(told)["source"]  # type: ignore[operator]


def test_who_gave_up_before_calling_cannot_fail_the_attempt_of_another() -> None:
    """Both saw it pending; one claimed it, one found it expired."""
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x")])
    assert not told.fold(chat.failed("x", 0, error_kind="expired")).accepted
    assert ours(told, chat).delivery is Delivery.SENDING


def test_a_lost_answer_is_unknown_and_says_so() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    assert ours(told, chat).delivery is Delivery.UNKNOWN
    assert shown_metadata(told) == {
        "source": {"unknown_reason": "the connection broke after the request was sent", "delivery_state": "unknown"}
    }


def test_an_unknown_message_is_never_claimed_again() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    assert not told.fold(chat.started("x", 2)).accepted
    assert not told.fold(chat.resend("x")).accepted


@pytest.mark.parametrize("late", ["sent", "failed", "to be retried"])
def test_a_late_outcome_settles_an_unknown_message(late: str) -> None:
    """The attempt is still its worker's: what that worker records is what happened."""
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.unknown("x")])
    facts: dict[str, tuple[Fact, Delivery]] = {
        "sent": (chat.succeeded("x", provider="p"), Delivery.SENT),
        "failed": (chat.failed("x"), Delivery.FAILED),
        "to be retried": (chat.failed("x", retry_at_ms=5), Delivery.PENDING),
    }
    fact, state = facts[late]
    assert told.fold(fact).accepted
    assert ours(told, chat).delivery is state
    assert "source.unknown_reason" not in ours(told, chat).metadata


def test_an_attempt_has_one_outcome() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.succeeded("x", provider="p")])
    late: list[Fact] = [
        chat.failed("x"),
        chat.unknown("x"),
        chat.succeeded("x", provider="q"),
        chat.failed("x", retry_at_ms=1),
    ]
    assert not any(told.fold(fact).accepted for fact in late)
    assert ours(told, chat).provider_id == chat.provider_id("p")


def test_an_outcome_of_an_attempt_nobody_claimed_is_rejected() -> None:
    chat = Chat()
    told = fold_all(queued(chat))
    assert not told.fold(chat.succeeded("x", 0)).accepted
    assert not told.fold(chat.unknown("x", 0)).accepted
    assert not told.fold(chat.failed("x", 1)).accepted


def test_only_a_failed_message_is_sent_again() -> None:
    chat = Chat()
    told = fold_all(queued(chat))
    assert not told.fold(chat.resend("x")).accepted
    told.fold_all([chat.started("x"), chat.failed("x")])
    assert told.fold(chat.resend("x", expires_at_ms=99)).accepted
    message = ours(told, chat)
    assert (message.delivery, message.metadata, message.expires_at_ms) == (Delivery.PENDING, {}, 99)
    assert shown_metadata(told) == {}


def test_no_claim_made_before_a_resend_comes_true_after_it() -> None:
    """A worker claimed attempt 2 while the message failed; after the resend that number is spent."""
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.failed("x")])
    early = chat.started("x", 2, worker="w2")
    assert not told.fold(early).accepted
    told.fold(chat.resend("x"))
    assert not told.fold(early).accepted
    assert not told.fold(chat.started("x", 2, worker="w3")).accepted
    assert told.fold(chat.started("x", 3)).accepted
    assert ours(told, chat).attempt_count == 2


def test_a_resend_told_twice_resends_once() -> None:
    chat = Chat()
    told = fold_all([*queued(chat), chat.started("x"), chat.failed("x")])
    again = chat.resend("x")
    told.fold_all([again, chat.started("x", 3), chat.failed("x", 3)])
    assert not told.fold(again).accepted
    assert ours(told, chat).delivery is Delivery.FAILED


def test_a_rejected_resend_told_again_stays_rejected() -> None:
    """Whoever asked was told no; that must not change behind their back."""
    chat = Chat()
    told = fold_all(queued(chat))
    early = chat.resend("x")
    told.fold_all([early, chat.started("x"), chat.failed("x")])
    assert not told.fold(early).accepted


def test_news_about_the_old_attempt_does_not_touch_the_new_one() -> None:
    chat = Chat()
    facts = [*queued(chat), chat.started("x"), chat.succeeded("x", provider="p"), chat.receipt(Delivery.FAILED, "p")]
    told = fold_all([*facts, chat.resend("x"), chat.receipt(Delivery.READ, "p")])
    assert (ours(told, chat).delivery, ours(told, chat).failed_at_ms) == (Delivery.PENDING, 0)
    told.fold_all([chat.started("x", 3), chat.succeeded("x", 3, provider="q")])
    assert (ours(told, chat).delivery, ours(told, chat).provider_id) == (Delivery.SENT, chat.provider_id("q"))


def test_the_providers_word_outweighs_a_failure_we_recorded() -> None:
    """In whichever order they come."""
    chat = Chat()
    begun = [*queued(chat), chat.started("x")]
    echo, failed = chat.echoed("p", ours="x"), chat.failed("x")
    assert ours(fold_all([*begun, echo, failed]), chat).delivery is Delivery.SENT
    assert ours(fold_all([*begun, failed, echo]), chat).delivery is Delivery.SENT


@pytest.mark.parametrize("name", ["a", "p"])
def test_only_our_own_messages_are_sent(name: str) -> None:
    """Not what a contact wrote, nor what somebody else wrote elsewhere."""
    chat = Chat()
    told = fold_all([chat.received("a"), chat.echoed("p"), chat.receipt(Delivery.FAILED, "p")])
    claim = msgspec.structs.replace(chat.started("x"), message_id=chat.inbound_id(name))
    resend = msgspec.structs.replace(chat.resend("x"), message_id=chat.inbound_id(name))
    assert not told.fold(claim).accepted
    assert not told.fold(resend).accepted
