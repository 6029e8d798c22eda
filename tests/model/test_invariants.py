"""Every invariant notices when it is broken: a predicate that cannot fail guards nothing."""

from collections.abc import Callable

import msgspec
import pytest

from airy.model import invariants
from airy.model.change import ChangeKind
from airy.model.conversation import PARKED_MAX, Conversation, Message, Parked, Reaction
from airy.model.delivery import Delivery
from tests.kit.builders import Chat, raw
from tests.kit.fold import fold_all

CHAT = Chat()
Damage = Callable[[Conversation, dict[str, Message]], None]


def healthy() -> tuple[Conversation, dict[str, Message]]:
    """A conversation with messages of every kind, by short name."""
    told = fold_all(
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
            CHAT.receipt(Delivery.DELIVERED, "p"),
            CHAT.received("c"),
            CHAT.tag_added("t"),
        ]
    )
    state = told.state(CHAT.conversation_id)
    names = {CHAT.inbound_id(name): name for name in ("a", "b", "c", "gone")}
    names |= {CHAT.outbound_id(name): name for name in ("sending", "waiting", "failed", "sent")}
    return told.conversation(CHAT.conversation_id), {names[message.id]: message for message in state.messages()}


def twice_numbered(_: Conversation, messages: dict[str, Message]) -> None:
    messages["b"].sequence = messages["a"].sequence


def numbered_ahead(conversation: Conversation, messages: dict[str, Message]) -> None:
    messages["c"].sequence = conversation.sequence + 1


def miscounted(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.message_count += 1


def born_late(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.created_at_ms += 1


def one_too_many_unread(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.unread_count += 1


def last_is_deleted(_: Conversation, messages: dict[str, Message]) -> None:
    messages["c"].deleted = True
    messages["c"].content = raw(None)


def last_is_not_latest(conversation: Conversation, messages: dict[str, Message]) -> None:
    conversation.last_message_id, conversation.last_message_at_ms = messages["a"].id, messages["a"].sent_at_ms


def shares_a_provider_id(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].provider_id = messages["b"].provider_id


def contact_fails(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].attempt = 1


def nobody_sends(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sending"].worker = None


def somebody_sends_what_waits(_: Conversation, messages: dict[str, Message]) -> None:
    messages["waiting"].worker, messages["waiting"].attempt_count, messages["waiting"].attempt = "w", 1, 1


def more_attempts_than_numbers(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].attempt_count = 5


def fails_without_reason(_: Conversation, messages: dict[str, Message]) -> None:
    messages["failed"].metadata = {}


def has_a_reason_and_did_not_fail(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].metadata = {"error": raw("why")}


def behind_its_report(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].delivery = Delivery.SENT


def deaf_to_failure(_: Conversation, messages: dict[str, Message]) -> None:
    messages["sent"].reported = Delivery.FAILED


def behind_the_watermark(conversation: Conversation, messages: dict[str, Message]) -> None:
    conversation.read_until_ms = messages["sent"].attempt_at_ms


def remembers_what_was_deleted(_: Conversation, messages: dict[str, Message]) -> None:
    messages["gone"].content = raw("secret")


def conflicting_metadata(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.metadata = {"a": raw(1), "a.b": raw(2)}


def waits_for_what_is_here(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.parked = {CHAT.provider_id("a"): Parked(provider_id=CHAT.provider_id("a"))}


def waits_for_too_much(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.parked = {str(number): Parked(provider_id=str(number)) for number in range(PARKED_MAX + 1)}


def too_many_reactions(_: Conversation, messages: dict[str, Message]) -> None:
    messages["a"].reactions = {str(number): Reaction("👍", number) for number in range(1000)}


def tagged_twice(conversation: Conversation, _: dict[str, Message]) -> None:
    conversation.tags = ["t", "t"]


DAMAGE: list[tuple[str, Damage]] = [
    ("M-1", twice_numbered),
    ("M-1", numbered_ahead),
    ("M-2", miscounted),
    ("M-2", born_late),
    ("M-3", one_too_many_unread),
    ("M-4", last_is_deleted),
    ("M-4", last_is_not_latest),
    ("M-5", shares_a_provider_id),
    ("M-6", contact_fails),
    ("M-7", nobody_sends),
    ("M-7", somebody_sends_what_waits),
    ("M-7", more_attempts_than_numbers),
    ("M-8", fails_without_reason),
    ("M-8", has_a_reason_and_did_not_fail),
    ("M-9", behind_its_report),
    ("M-9", deaf_to_failure),
    ("M-10", behind_the_watermark),
    ("M-11", remembers_what_was_deleted),
    ("M-12", conflicting_metadata),
    ("M-13", waits_for_what_is_here),
    ("M-13", waits_for_too_much),
    ("M-13", too_many_reactions),
    ("M-14", tagged_twice),
]


def test_a_healthy_conversation_breaks_nothing() -> None:
    conversation, messages = healthy()
    assert invariants.broken(conversation, list(messages.values())) == []


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=lambda value: getattr(value, "__name__", value))
def test_damage_is_noticed_by_name(name: str, damage: Damage) -> None:
    conversation, messages = healthy()
    damage(conversation, messages)
    assert name in invariants.broken(conversation, list(messages.values()))


def test_every_invariant_is_broken_here_once() -> None:
    assert {name for name, _ in DAMAGE} == set(invariants.INVARIANTS)
    assert all((predicate.__doc__ or "").startswith(f"{name}:") for name, predicate in invariants.INVARIANTS.items())


def test_a_move_that_is_not_in_the_table_is_noticed() -> None:
    message = healthy()[1]["sent"]
    before = msgspec.structs.replace(message, delivery=Delivery.PENDING)
    assert invariants.moved_by_the_table(None, message)
    assert invariants.moved_by_the_table(before, message)
    assert not invariants.moved_by_the_table(message, msgspec.structs.replace(message, delivery=Delivery.SENDING))
    assert not invariants.moved_by_the_table(message, msgspec.structs.replace(message, sequence=99))


def test_changes_told_wrongly_are_noticed() -> None:
    chat = Chat()
    changes = fold_all([chat.received("a"), chat.edited("a", "new"), chat.deleted("a")]).changes
    assert invariants.told_wrongly(changes) == []
    created, deleted = changes[0], changes[-3]
    assert deleted.kind is ChangeKind.MESSAGE_DELETED
    wrong = [
        ("C-1", [deleted, created]),
        ("C-2", [created, created]),
        ("C-3", changes[1:]),
        ("C-3", [created, deleted, deleted]),
    ]
    for name, told in wrong:
        assert any(text.startswith(name) for text in invariants.told_wrongly(told))
