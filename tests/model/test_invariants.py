"""Every invariant reports its violation: a predicate that cannot fail proves nothing."""

from collections.abc import Callable

import msgspec
import pytest

from airy.model import invariants
from airy.model.change import ChangeKind
from airy.model.conversation import PENDING_REPORTS_MAX, Conversation, Message, PendingReports, Reaction
from airy.model.delivery_state import DeliveryState
from tests.kit.builders import Chat, raw
from tests.kit.fold import fold_all

CHAT = Chat()
Damage = Callable[[Conversation, dict[str, Message]], None]


def healthy() -> tuple[Conversation, dict[str, Message]]:
    """A conversation with messages of every kind, by short name."""
    reference = fold_all(
        [
            CHAT.received("a"),
            CHAT.received("b"),
            CHAT.received("gone"),
            CHAT.deleted("gone"),
            CHAT.read(),
            CHAT.queued("sending"),
            CHAT.started("sending"),
            CHAT.queued("waiting"),
            CHAT.queued("failed"),
            CHAT.started("failed"),
            CHAT.failed("failed"),
            CHAT.queued("sent"),
            CHAT.started("sent"),
            CHAT.succeeded("sent", provider="p"),
            CHAT.receipt(DeliveryState.DELIVERED, "p"),
            CHAT.received("c"),
            CHAT.tag_added("t"),
        ]
    )
    state = reference.state(CHAT.conversation_id)
    names = {CHAT.inbound_id(name): name for name in ("a", "b", "c", "gone")}
    names |= {CHAT.outbound_id(name): name for name in ("sending", "waiting", "failed", "sent")}
    return reference.conversation(CHAT.conversation_id), {names[message.id]: message for message in state.messages()}


def sequence_used_twice(_: Conversation, messages: dict[str, Message]) -> None:
    messages["b"].sequence = messages["a"].sequence


def sequence_too_high(conversation: Conversation, messages: dict[str, Message]) -> None:
    messages["c"].sequence = conversation.sequence + 1


def wrong_message_count(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.message_count += 1


def created_too_late(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.created_at_ms += 1


def unread_count_too_high(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.unread_count += 1


def last_is_deleted(_: Conversation, messages: dict[str, Message]) -> None:
    messages["c"].deleted = True
    messages["c"].content = raw(None)


def last_is_not_latest(conversation: Conversation, messages: dict[str, Message]) -> None:
    conversation.last_message_id, conversation.last_message_at_ms = messages["a"].id, messages["a"].sent_at_ms


def provider_id_used_twice(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].provider_id = messages["b"].provider_id


def inbound_with_attempt(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].attempt = 1


def sending_without_worker(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sending"].worker = None


def pending_with_worker(_: Conversation, messages: dict[str, Message]) -> None:
    messages["waiting"].worker, messages["waiting"].attempt_count, messages["waiting"].attempt = "w", 1, 1


def more_attempts_than_numbers(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].attempt_count = 5


def failed_without_error(_: Conversation, messages: dict[str, Message]) -> None:
    messages["failed"].metadata = {}


def error_without_failure(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].metadata = {"error": raw("why")}


def behind_its_report(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].delivery = DeliveryState.SENT


def reported_failure_ignored(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].reported = DeliveryState.FAILED


def behind_the_watermark(conversation: Conversation, messages: dict[str, Message]) -> None:
    conversation.read_until_ms = messages["sent"].attempt_at_ms


def deleted_with_content(_: Conversation, messages: dict[str, Message]) -> None:
    messages["gone"].content = raw("secret")


def conflicting_metadata(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.metadata = {"a": raw(1), "a.b": raw(2)}


def pending_report_of_a_folded_message(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.pending_reports = {CHAT.provider_id("a"): PendingReports(provider_id=CHAT.provider_id("a"))}


def too_many_pending_reports(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.pending_reports = {
        str(number): PendingReports(provider_id=str(number)) for number in range(PENDING_REPORTS_MAX + 1)
    }


def too_many_reactions(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].reactions = {str(number): Reaction("👍", number) for number in range(1000)}


def tag_used_twice(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.tags = ["t", "t"]


DAMAGE: list[tuple[str, Damage]] = [
    ("M-1", sequence_used_twice),
    ("M-1", sequence_too_high),
    ("M-2", wrong_message_count),
    ("M-2", created_too_late),
    ("M-3", unread_count_too_high),
    ("M-4", last_is_deleted),
    ("M-4", last_is_not_latest),
    ("M-5", provider_id_used_twice),
    ("M-6", inbound_with_attempt),
    ("M-7", sending_without_worker),
    ("M-7", pending_with_worker),
    ("M-7", more_attempts_than_numbers),
    ("M-8", failed_without_error),
    ("M-8", error_without_failure),
    ("M-9", behind_its_report),
    ("M-9", reported_failure_ignored),
    ("M-10", behind_the_watermark),
    ("M-11", deleted_with_content),
    ("M-12", conflicting_metadata),
    ("M-13", pending_report_of_a_folded_message),
    ("M-13", too_many_pending_reports),
    ("M-13", too_many_reactions),
    ("M-14", tag_used_twice),
]


def test_a_healthy_conversation_has_no_violations() -> None:
    conversation, messages = healthy()
    assert invariants.violations(conversation, list(messages.values())) == []


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=lambda value: getattr(value, "__name__", value))
def test_a_violation_is_reported_by_name(name: str, damage: Damage) -> None:
    conversation, messages = healthy()
    damage(conversation, messages)
    assert name in invariants.violations(conversation, list(messages.values()))


def test_every_invariant_is_violated_here() -> None:
    assert {name for name, _ in DAMAGE} == set(invariants.INVARIANTS)
    assert all((predicate.__doc__ or "").startswith(f"{name}:") for name, predicate in invariants.INVARIANTS.items())


def test_a_transition_that_is_not_in_the_table_is_reported() -> None:
    message = healthy()[1]["sent"]
    before = msgspec.structs.replace(message, delivery=DeliveryState.PENDING)
    assert invariants.transition_allowed(None, message)
    assert invariants.transition_allowed(before, message)
    assert not invariants.transition_allowed(message, msgspec.structs.replace(message, delivery=DeliveryState.SENDING))
    assert not invariants.transition_allowed(message, msgspec.structs.replace(message, sequence=99))


def test_wrong_changes_are_reported() -> None:
    chat = Chat()
    changes = fold_all([chat.received("a"), chat.edited("a", "new"), chat.deleted("a")]).changes
    assert invariants.change_violations(changes) == []
    created, deleted = changes[0], changes[-3]
    assert deleted.kind is ChangeKind.MESSAGE_DELETED
    wrong = [
        ("C-1", [deleted, created]),
        ("C-2", [created, created]),
        ("C-3", changes[1:]),
        ("C-3", [created, deleted, deleted]),
    ]
    for name, made in wrong:
        assert any(text.startswith(name) for text in invariants.change_violations(made))
