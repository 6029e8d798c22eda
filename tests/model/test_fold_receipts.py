"""Receipts: for messages the provider names, and for all messages up to a watermark."""

from itertools import permutations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from airy.model.metadata import text
from tests.kit.builders import START_MS, Chat
from tests.kit.fold import ReferenceFold, fold_all

SENT_AT = START_MS + 50_000
STATES = [DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.DELIVERED, DeliveryState.READ]


def sent(chat: Chat, name: str = "x", at_ms: int = SENT_AT) -> list[Fact]:
    return [
        chat.queued(name, recipient_id="someone"),
        chat.started(name, at_ms=at_ms),
        chat.succeeded(name, provider=name),
    ]


def state_of(reference: ReferenceFold, chat: Chat, name: str = "x") -> DeliveryState:
    return reference.message(chat.conversation_id, chat.outbound_id(name)).delivery


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_the_stronger_of_two_reports_wins(first: DeliveryState, second: DeliveryState) -> None:
    """X-2."""
    chat = Chat()
    reference = fold_all([*sent(chat), chat.receipt(first, "x"), chat.receipt(second, "x")])
    assert state_of(reference, chat) is STATES[max(STATES.index(first), STATES.index(second))]


def test_a_reported_failure_has_its_kind_in_whatever_order_it_arrives() -> None:
    chat = Chat()
    report = chat.receipt(DeliveryState.FAILED, "x", error="closed", error_code="63016", error_kind="window")
    echo = chat.echoed("x")  # a copy, until the send is known by its provider id
    for facts in ([*sent(chat), report], [report, *sent(chat)], [*sent(chat)[:2], echo, report, sent(chat)[2]]):
        message = fold_all(facts).message(chat.conversation_id, chat.outbound_id("x"))
        assert text(message.metadata, "source.error_kind") == "window"


def test_a_report_that_adds_nothing_is_rejected() -> None:
    chat = Chat()
    reference = fold_all([*sent(chat), chat.receipt(DeliveryState.READ, "x")])
    assert not reference.fold(chat.receipt(DeliveryState.DELIVERED, "x")).accepted
    assert not reference.fold(chat.receipt(DeliveryState.READ, "x")).accepted


def test_sent_adds_nothing_after_success_but_delivered_does() -> None:
    chat = Chat()
    reference = fold_all(sent(chat))
    assert reference.fold(chat.receipt(DeliveryState.SENT, "x")).changes == ()
    kinds = [change.kind for change in reference.fold(chat.receipt(DeliveryState.DELIVERED, "x")).changes]
    assert kinds == ["message.updated", "conversation.updated"]


def test_a_reported_failure_has_an_error_until_delivery_disproves_it() -> None:
    chat = Chat()
    reference = fold_all(
        [*sent(chat), chat.receipt(DeliveryState.FAILED, "x", error="unreachable", error_code="131026")]
    )
    message = reference.message(chat.conversation_id, chat.outbound_id("x"))
    assert (text(message.metadata, "error"), text(message.metadata, "source.error_code")) == ("unreachable", "131026")
    reference.fold(chat.receipt(DeliveryState.DELIVERED, "x"))
    message = reference.message(chat.conversation_id, chat.outbound_id("x"))
    assert (message.delivery, message.metadata) == (DeliveryState.DELIVERED, {})


def test_of_two_failures_the_later_one_wins() -> None:
    chat = Chat()
    early, late = (
        chat.receipt(DeliveryState.FAILED, "x", error=error, at_ms=at) for error, at in (("early", 1), ("late", 2))
    )
    for order in ([early, late], [late, early]):
        message = fold_all([*sent(chat), *order]).message(chat.conversation_id, chat.outbound_id("x"))
        assert text(message.metadata, "error") == "late"


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.UNKNOWN])
def test_a_state_no_provider_reports_is_rejected(state: DeliveryState) -> None:
    chat = Chat()
    assert not fold_all(sent(chat)).fold(chat.receipt(state, "x", watermark_ms=SENT_AT)).accepted


def test_receipts_do_not_change_inbound_messages() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a")])
    assert not reference.fold(chat.receipt(DeliveryState.FAILED, "a")).accepted


def test_one_receipt_may_name_many_messages() -> None:
    chat = Chat()
    reference = fold_all([*sent(chat, "x"), *sent(chat, "y"), chat.receipt(DeliveryState.DELIVERED, "x", "y", "z")])
    assert state_of(reference, chat, "x") is state_of(reference, chat, "y") is DeliveryState.DELIVERED
    assert list(reference.conversation(chat.conversation_id).pending_reports) == [chat.provider_id("z")]


# --- watermarks


@pytest.mark.parametrize(("watermark_ms", "state"), [(SENT_AT - 1, DeliveryState.SENT), (SENT_AT, DeliveryState.READ)])
def test_a_watermark_covers_attempts_up_to_its_time(watermark_ms: int, state: DeliveryState) -> None:
    """The watermark is compared with the time of the attempt, not of the message."""
    chat = Chat()
    assert state_of(fold_all([*sent(chat), chat.receipt(DeliveryState.READ, watermark_ms=watermark_ms)]), chat) is state


def test_a_watermark_covers_messages_settled_after_it() -> None:
    chat = Chat()
    begun = sent(chat)[:2]
    watermark = chat.receipt(DeliveryState.DELIVERED, watermark_ms=SENT_AT)
    reference = fold_all([*begun, watermark])
    assert state_of(reference, chat) is DeliveryState.SENDING
    reference.fold(chat.succeeded("x", provider="x"))
    assert state_of(reference, chat) is DeliveryState.DELIVERED


def test_a_later_settled_message_is_covered_by_the_time_of_its_attempt() -> None:
    """The message was queued before the watermark, and its attempt started after it."""
    chat = Chat()
    watermarks = [
        chat.receipt(state, watermark_ms=SENT_AT - 1) for state in (DeliveryState.DELIVERED, DeliveryState.READ)
    ]
    assert state_of(fold_all([*watermarks, *sent(chat)]), chat) is DeliveryState.SENT


def test_a_watermark_covers_a_message_that_an_echo_proves_sent() -> None:
    chat = Chat()
    begun = sent(chat)[:2]
    reference = fold_all([*begun, chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT), chat.failed("x")])
    assert state_of(reference, chat) is DeliveryState.FAILED
    reference.fold(chat.echoed("x", ours="x"))
    assert state_of(reference, chat) is DeliveryState.READ


def test_a_watermark_settles_an_unknown_message() -> None:
    chat = Chat()
    facts = [*sent(chat)[:2], chat.unknown("x"), chat.receipt(DeliveryState.DELIVERED, watermark_ms=SENT_AT)]
    assert state_of(fold_all(facts), chat) is DeliveryState.DELIVERED


@pytest.mark.parametrize("retry_at_ms", [None, 5])
def test_a_recorded_failure_overrides_a_watermark(retry_at_ms: int | None) -> None:
    """A watermark covers many messages; the late outcome is about this call."""
    chat = Chat()
    facts = [*sent(chat)[:2], chat.unknown("x"), chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT)]
    reference = fold_all([*facts, chat.failed("x", retry_at_ms=retry_at_ms)])
    assert state_of(reference, chat) is (DeliveryState.FAILED if retry_at_ms is None else DeliveryState.PENDING)


@pytest.mark.parametrize("watermark_first", [True, False])
def test_a_reported_failure_outweighs_a_watermark(watermark_first: bool) -> None:
    chat = Chat()
    receipts = [chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT), chat.receipt(DeliveryState.FAILED, "x")]
    reference = fold_all([*sent(chat), *(receipts if watermark_first else reversed(receipts))])
    assert state_of(reference, chat) is DeliveryState.FAILED


def test_a_watermark_does_not_change_pending_or_failed_messages() -> None:
    chat = Chat()
    facts: list[Fact] = [
        chat.queued("x", recipient_id="someone"),
        chat.queued("y"),
        chat.started("y", at_ms=SENT_AT),
        chat.failed("y"),
        chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT),
    ]
    reference = fold_all(facts)
    assert (state_of(reference, chat, "x"), state_of(reference, chat, "y")) == (
        DeliveryState.PENDING,
        DeliveryState.FAILED,
    )


def test_watermarks_only_rise_and_read_covers_delivered() -> None:
    chat = Chat()
    reference = fold_all([*sent(chat), chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT)])
    assert not reference.fold(chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT - 1)).accepted
    assert not reference.fold(chat.receipt(DeliveryState.DELIVERED, watermark_ms=SENT_AT)).accepted
    assert reference.fold(chat.receipt(DeliveryState.DELIVERED, watermark_ms=SENT_AT + 1)).accepted
    assert not reference.fold(chat.receipt(DeliveryState.DELIVERED, watermark_ms=SENT_AT + 1)).accepted


@pytest.mark.parametrize("state", [DeliveryState.SENT, DeliveryState.FAILED])
def test_only_delivered_and_read_may_be_watermarks(state: DeliveryState) -> None:
    chat = Chat()
    assert not fold_all(sent(chat)).fold(chat.receipt(state, watermark_ms=SENT_AT)).accepted


@pytest.mark.parametrize("at_ms", [0, -5])
def test_a_message_without_a_time_is_covered_by_no_watermark(at_ms: int) -> None:
    chat = Chat()
    echo, watermark = chat.echoed("z", at_ms=at_ms), chat.receipt(DeliveryState.READ, watermark_ms=9)
    logs: list[list[Fact]] = [[echo], [echo, watermark], [watermark, echo]]
    for log in logs:
        assert fold_all(log).message(chat.conversation_id, chat.inbound_id("z")).delivery is DeliveryState.SENT


def test_a_watermark_covers_echoes_too() -> None:
    chat = Chat()
    reference = fold_all([chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT), chat.echoed("z", at_ms=SENT_AT)])
    assert reference.message(chat.conversation_id, chat.inbound_id("z")).delivery is DeliveryState.READ


def test_the_id_of_a_watermark_is_not_stored_and_of_a_named_receipt_is() -> None:
    chat = Chat()
    blanket, named = chat.receipt(DeliveryState.READ, watermark_ms=SENT_AT), chat.receipt(DeliveryState.DELIVERED, "x")
    reference = fold_all([*sent(chat), blanket, named])
    assert blanket.id not in reference.state(chat.conversation_id).seen_facts
    assert reference.state(chat.conversation_id).seen_facts[named.id]


# --- receipts that name the message by our id


def test_a_receipt_with_our_id_settles_a_send_whose_response_was_lost() -> None:
    chat = Chat(1)
    sent = replace(chat.receipt(DeliveryState.DELIVERED, "z"), our_message_id=chat.outbound_id("x"), our_attempt=0)
    state = fold_all([chat.received("a"), chat.queued("x"), chat.started("x"), chat.unknown("x"), sent])
    message = state.message(chat.conversation_id, chat.outbound_id("x"))
    assert (message.delivery, message.provider_id) == (DeliveryState.DELIVERED, chat.provider_id("z"))


def test_a_late_receipt_of_an_earlier_attempt_binds_nothing() -> None:
    chat = Chat(1)
    late = replace(chat.receipt(DeliveryState.DELIVERED, "z"), our_message_id=chat.outbound_id("x"), our_attempt=0)
    log = [chat.received("a"), chat.queued("x"), chat.started("x"), chat.failed("x"), chat.resend("x"), late]
    message = fold_all(log).message(chat.conversation_id, chat.outbound_id("x"))
    assert (message.delivery, message.provider_id) == (DeliveryState.PENDING, None)


def test_a_receipt_with_our_id_changes_no_message_that_is_bound() -> None:
    chat = Chat(1)
    other = replace(chat.receipt(DeliveryState.READ, "q"), our_message_id=chat.outbound_id("x"), our_attempt=1)
    log = [chat.received("a"), chat.queued("x"), chat.started("x"), chat.succeeded("x", provider="z"), other]
    message = fold_all(log).message(chat.conversation_id, chat.outbound_id("x"))
    assert (message.delivery, message.provider_id) == (DeliveryState.SENT, chat.provider_id("z"))


# --- receipts with names and a watermark, and bounded watermarks


def test_a_bounded_watermark_that_comes_again_later_covers_no_more_than_the_first() -> None:
    chat = Chat(1)
    first = replace(chat.receipt(DeliveryState.READ, watermark_ms=chat.now_ms), watermark_written="2051049600987")
    log = [chat.received("a"), first, chat.queued("x"), chat.started("x"), chat.succeeded("x", provider="x")]
    again = replace(first, at_ms=chat.now_ms, watermark_ms=chat.now_ms)
    message = fold_all([*log, again]).message(chat.conversation_id, chat.outbound_id("x"))
    assert message.delivery is DeliveryState.SENT


def test_a_receipt_with_names_and_a_watermark_uses_both() -> None:
    """Also where it names the message by our id."""
    chat = Chat(1)
    begun = [chat.received("a"), chat.queued("x"), chat.started("x"), chat.succeeded("x", provider="x")]
    begun += [chat.queued("y"), chat.started("y"), chat.unknown("y")]
    named = chat.receipt(DeliveryState.DELIVERED, "y", watermark_ms=chat.now_ms)
    ours = replace(named, our_message_id=chat.outbound_id("y"))
    for receipt in (named, ours):
        state = fold_all([*begun, receipt])
        assert state.message(chat.conversation_id, chat.outbound_id("x")).delivery is DeliveryState.DELIVERED
    assert state.message(chat.conversation_id, chat.outbound_id("y")).provider_id == chat.provider_id("y")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_last_price_is_kept_in_whatever_order_it_arrives(order: tuple[int, ...]) -> None:
    """Also where the message has a stronger report already, and where reports are there before the message."""
    chat = Chat()
    reports = [
        chat.receipt(DeliveryState.READ, "x", at_ms=SENT_AT + 30),
        chat.receipt(DeliveryState.DELIVERED, "x", pricing=Raw(b'{"category":"utility"}'), at_ms=SENT_AT + 20),
        chat.receipt(DeliveryState.SENT, "x", pricing=Raw(b'{"category":"service"}'), at_ms=SENT_AT + 10),
    ]
    given = [reports[number] for number in order]
    for log in ([*sent(chat), *given], [*given, *sent(chat)]):
        message = fold_all(log).message(chat.conversation_id, chat.outbound_id("x"))
        assert message.metadata["source.pricing"] == Raw(b'{"category":"utility"}')
        assert message.delivery is DeliveryState.READ


def test_a_report_with_the_same_price_adds_nothing() -> None:
    chat = Chat()
    priced = chat.receipt(DeliveryState.DELIVERED, "x", pricing=Raw(b'{"category":"utility"}'), at_ms=SENT_AT + 20)
    again = chat.receipt(DeliveryState.DELIVERED, "x", pricing=Raw(b'{"category":"utility"}'), at_ms=SENT_AT + 20)
    reference = fold_all([*sent(chat), priced])
    assert not reference.fold(again).accepted
