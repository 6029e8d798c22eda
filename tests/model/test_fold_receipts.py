"""Receipts: about messages the provider names, and about everything up to a time."""

import pytest

from airy.model.delivery import Delivery
from airy.model.fact import Fact
from airy.model.metadata import text
from tests.kit.builders import START_MS, Chat
from tests.kit.fold import Reference, fold_all

SENT_AT = START_MS + 50_000
STATES = [Delivery.SENT, Delivery.FAILED, Delivery.DELIVERED, Delivery.READ]


def sent(chat: Chat, name: str = "x", at_ms: int = SENT_AT) -> list[Fact]:
    return [
        chat.queued(name, recipient_id="someone"),
        chat.started(name, at_ms=at_ms),
        chat.succeeded(name, provider=name),
    ]


def state_of(told: Reference, chat: Chat, name: str = "x") -> Delivery:
    return told.message(chat.conversation_id, chat.outbound_id(name)).delivery


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_the_stronger_of_two_reports_stands(first: Delivery, second: Delivery) -> None:
    chat = Chat()
    told = fold_all([*sent(chat), chat.receipt(first, "x"), chat.receipt(second, "x")])
    assert state_of(told, chat) is STATES[max(STATES.index(first), STATES.index(second))]


def test_a_report_that_adds_nothing_is_rejected() -> None:
    chat = Chat()
    told = fold_all([*sent(chat), chat.receipt(Delivery.READ, "x")])
    assert not told.fold(chat.receipt(Delivery.DELIVERED, "x")).accepted
    assert not told.fold(chat.receipt(Delivery.READ, "x")).accepted


def test_sent_is_not_news_after_success_but_delivered_is() -> None:
    chat = Chat()
    told = fold_all(sent(chat))
    assert told.fold(chat.receipt(Delivery.SENT, "x")).changes == ()
    kinds = [change.kind for change in told.fold(chat.receipt(Delivery.DELIVERED, "x")).changes]
    assert kinds == ["message.updated", "conversation.updated"]


def test_a_failure_after_acceptance_says_why_and_delivery_takes_it_back() -> None:
    chat = Chat()
    told = fold_all([*sent(chat), chat.receipt(Delivery.FAILED, "x", error="unreachable", error_code="131026")])
    message = told.message(chat.conversation_id, chat.outbound_id("x"))
    assert (text(message.metadata, "error"), text(message.metadata, "source.error_code")) == ("unreachable", "131026")
    told.fold(chat.receipt(Delivery.DELIVERED, "x"))
    message = told.message(chat.conversation_id, chat.outbound_id("x"))
    assert (message.delivery, message.metadata) == (Delivery.DELIVERED, {})


def test_of_two_failures_the_later_one_is_shown() -> None:
    chat = Chat()
    early, late = (
        chat.receipt(Delivery.FAILED, "x", error=error, at_ms=at) for error, at in (("early", 1), ("late", 2))
    )
    for order in ([early, late], [late, early]):
        message = fold_all([*sent(chat), *order]).message(chat.conversation_id, chat.outbound_id("x"))
        assert text(message.metadata, "error") == "late"


@pytest.mark.parametrize("state", [Delivery.PENDING, Delivery.SENDING, Delivery.UNKNOWN])
def test_what_a_provider_cannot_know_is_rejected(state: Delivery) -> None:
    chat = Chat()
    assert not fold_all(sent(chat)).fold(chat.receipt(state, "x", watermark_ms=SENT_AT)).accepted


def test_receipts_do_not_touch_what_a_contact_wrote() -> None:
    chat = Chat()
    told = fold_all([chat.received("a")])
    assert not told.fold(chat.receipt(Delivery.FAILED, "a")).accepted


def test_one_receipt_may_name_many_messages() -> None:
    chat = Chat()
    told = fold_all([*sent(chat, "x"), *sent(chat, "y"), chat.receipt(Delivery.DELIVERED, "x", "y", "z")])
    assert state_of(told, chat, "x") is state_of(told, chat, "y") is Delivery.DELIVERED
    assert list(told.conversation(chat.conversation_id).parked) == [chat.provider_id("z")]


# --- watermarks


@pytest.mark.parametrize(("watermark_ms", "state"), [(SENT_AT - 1, Delivery.SENT), (SENT_AT, Delivery.READ)])
def test_a_watermark_covers_what_left_us_by_then(watermark_ms: int, state: Delivery) -> None:
    """The time of the attempt counts, not that of the message."""
    chat = Chat()
    assert state_of(fold_all([*sent(chat), chat.receipt(Delivery.READ, watermark_ms=watermark_ms)]), chat) is state


def test_a_watermark_covers_what_is_settled_after_it() -> None:
    chat = Chat()
    begun = sent(chat)[:2]
    watermark = chat.receipt(Delivery.DELIVERED, watermark_ms=SENT_AT)
    told = fold_all([*begun, watermark])
    assert state_of(told, chat) is Delivery.SENDING
    told.fold(chat.succeeded("x", provider="x"))
    assert state_of(told, chat) is Delivery.DELIVERED


def test_what_a_watermark_covers_later_is_measured_by_the_attempt_too() -> None:
    """The message was written before the watermark and called for after it."""
    chat = Chat()
    watermarks = [chat.receipt(state, watermark_ms=SENT_AT - 1) for state in (Delivery.DELIVERED, Delivery.READ)]
    assert state_of(fold_all([*watermarks, *sent(chat)]), chat) is Delivery.SENT


def test_a_watermark_covers_what_an_echo_proves_sent() -> None:
    chat = Chat()
    begun = sent(chat)[:2]
    told = fold_all([*begun, chat.receipt(Delivery.READ, watermark_ms=SENT_AT), chat.failed("x")])
    assert state_of(told, chat) is Delivery.FAILED
    told.fold(chat.echoed("x", ours="x"))
    assert state_of(told, chat) is Delivery.READ


def test_a_watermark_settles_what_is_unknown() -> None:
    chat = Chat()
    facts = [*sent(chat)[:2], chat.unknown("x"), chat.receipt(Delivery.DELIVERED, watermark_ms=SENT_AT)]
    assert state_of(fold_all(facts), chat) is Delivery.DELIVERED


@pytest.mark.parametrize("retry_at_ms", [None, 5])
def test_a_recorded_failure_corrects_what_a_watermark_assumed(retry_at_ms: int | None) -> None:
    """A watermark speaks of many; the worker's late answer is about this very call."""
    chat = Chat()
    facts = [*sent(chat)[:2], chat.unknown("x"), chat.receipt(Delivery.READ, watermark_ms=SENT_AT)]
    told = fold_all([*facts, chat.failed("x", retry_at_ms=retry_at_ms)])
    assert state_of(told, chat) is (Delivery.FAILED if retry_at_ms is None else Delivery.PENDING)


@pytest.mark.parametrize("watermark_first", [True, False])
def test_a_failure_that_names_the_message_outweighs_a_watermark(watermark_first: bool) -> None:
    chat = Chat()
    news = [chat.receipt(Delivery.READ, watermark_ms=SENT_AT), chat.receipt(Delivery.FAILED, "x")]
    told = fold_all([*sent(chat), *(news if watermark_first else reversed(news))])
    assert state_of(told, chat) is Delivery.FAILED


def test_a_watermark_does_not_touch_what_waits_or_failed() -> None:
    chat = Chat()
    facts: list[Fact] = [
        chat.queued("x", recipient_id="someone"),
        chat.queued("y"),
        chat.started("y", at_ms=SENT_AT),
        chat.failed("y"),
        chat.receipt(Delivery.READ, watermark_ms=SENT_AT),
    ]
    told = fold_all(facts)
    assert (state_of(told, chat, "x"), state_of(told, chat, "y")) == (Delivery.PENDING, Delivery.FAILED)


def test_watermarks_only_rise_and_reading_covers_delivery() -> None:
    chat = Chat()
    told = fold_all([*sent(chat), chat.receipt(Delivery.READ, watermark_ms=SENT_AT)])
    assert not told.fold(chat.receipt(Delivery.READ, watermark_ms=SENT_AT - 1)).accepted
    assert not told.fold(chat.receipt(Delivery.DELIVERED, watermark_ms=SENT_AT)).accepted
    assert told.fold(chat.receipt(Delivery.DELIVERED, watermark_ms=SENT_AT + 1)).accepted
    assert not told.fold(chat.receipt(Delivery.DELIVERED, watermark_ms=SENT_AT + 1)).accepted


@pytest.mark.parametrize("state", [Delivery.SENT, Delivery.FAILED])
def test_only_delivery_and_reading_are_reported_by_time(state: Delivery) -> None:
    chat = Chat()
    assert not fold_all(sent(chat)).fold(chat.receipt(state, watermark_ms=SENT_AT)).accepted


@pytest.mark.parametrize("at_ms", [0, -5])
def test_a_message_without_a_time_is_covered_by_no_watermark(at_ms: int) -> None:
    chat = Chat()
    echo, watermark = chat.echoed("z", at_ms=at_ms), chat.receipt(Delivery.READ, watermark_ms=9)
    logs: list[list[Fact]] = [[echo], [echo, watermark], [watermark, echo]]
    for log in logs:
        assert fold_all(log).message(chat.conversation_id, chat.inbound_id("z")).delivery is Delivery.SENT


def test_a_watermark_covers_echoes_too() -> None:
    chat = Chat()
    told = fold_all([chat.receipt(Delivery.READ, watermark_ms=SENT_AT), chat.echoed("z", at_ms=SENT_AT)])
    assert told.message(chat.conversation_id, chat.inbound_id("z")).delivery is Delivery.READ


def test_a_watermark_needs_no_memory_and_a_named_receipt_does() -> None:
    chat = Chat()
    blanket, named = chat.receipt(Delivery.READ, watermark_ms=SENT_AT), chat.receipt(Delivery.DELIVERED, "x")
    told = fold_all([*sent(chat), blanket, named])
    assert blanket.id not in told.state(chat.conversation_id).memory
    assert told.state(chat.conversation_id).memory[named.id]
