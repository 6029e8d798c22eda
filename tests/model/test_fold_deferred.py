"""Messages that wait for a conversation: unannounced until it begins, or until the wait is over."""

from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact, SendFailed
from airy.model.invariants import change_violations
from airy.model.raw import NULL
from tests.kit.builders import START_MS, Chat
from tests.kit.fold import ReferenceFold, fold_all


def message_of(reference: ReferenceFold, chat: Chat, name: str) -> Message:
    found = reference.state(chat.conversation_id).message(chat.outbound_id(name))
    assert found is not None
    return found


def announced(reference: ReferenceFold, chat: Chat, name: str) -> list[str]:
    """The kinds of the message's own changes."""
    message_id = chat.outbound_id(name).encode()
    kinds = [each.kind.value for each in reference.changes if message_id in each.body]
    assert change_violations(reference.changes) == []
    return [kind for kind in kinds if kind.startswith("message.")]


def over(chat: Chat, name: str, attempt: int = 0) -> SendFailed:
    return SendFailed(
        id=f"over-{name}-{attempt}",
        conversation_id=chat.conversation_id,
        channel_id="",
        source="",
        at_ms=START_MS + 30_000,
        message_id=chat.outbound_id(name),
        attempt=attempt,
        error_kind="not_found",
        error="there is no such conversation",
    )


def test_a_deferred_message_waits_without_a_channel_and_without_changes() -> None:
    chat = Chat()
    reference = fold_all([chat.deferred("x")])
    waiting = message_of(reference, chat, "x")
    assert (waiting.delivery, waiting.channel_id, waiting.source) == (DeliveryState.PENDING, "", "")
    assert reference.changes == []
    assert not reference.conversation(chat.conversation_id).visible


def test_it_is_announced_with_the_channel_of_the_conversation_that_begins() -> None:
    chat = Chat()
    reference = fold_all([chat.deferred("x"), chat.received("a"), chat.queued("x", expires_at_ms=99)])
    message, conversation = message_of(reference, chat, "x"), reference.conversation(chat.conversation_id)
    assert (conversation.channel_id, conversation.source) == (chat.channel_id, "facebook")
    assert (message.channel_id, message.source, message.recipient_id) == (
        chat.channel_id,
        "facebook",
        chat.participant_id,
    )
    assert (message.delivery, message.expires_at_ms, message.sequence) == (DeliveryState.PENDING, 99, 1)
    assert announced(reference, chat, "x") == ["message.created"]
    assert conversation.last_message_id == chat.inbound_id("a")


def test_it_gets_its_channel_once() -> None:
    chat = Chat()
    log: list[Fact] = [chat.deferred("x"), chat.received("a"), chat.queued("x"), chat.queued("x"), chat.deferred("x")]
    reference = fold_all(log)
    assert list(reference.accepted.values()).count(True) == 3
    assert announced(reference, chat, "x") == ["message.created"]


def test_in_a_conversation_that_has_begun_it_is_queued_at_once() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.deferred("x")])
    assert message_of(reference, chat, "x").channel_id == chat.channel_id
    assert announced(reference, chat, "x") == ["message.created"]


def test_a_receipt_begins_no_conversation_for_it() -> None:
    chat = Chat()
    reference = fold_all([chat.receipt(DeliveryState.DELIVERED, "z"), chat.deferred("x"), chat.received("a")])
    assert message_of(reference, chat, "x").channel_id == ""
    assert reference.conversation(chat.conversation_id).channel_id == chat.channel_id


def test_the_end_of_the_wait_is_announced_as_a_failure() -> None:
    chat = Chat()
    reference = fold_all([chat.deferred("x"), over(chat, "x")])
    failed = message_of(reference, chat, "x")
    assert failed.delivery is DeliveryState.FAILED
    assert b"no such conversation" in bytes(failed.metadata["error"])
    assert announced(reference, chat, "x") == ["message.created"]
    assert b'"delivery_state":"failed"' in reference.changes[0].body
    assert [each.kind.value for each in reference.changes] == ["message.created"]


def test_a_failed_one_can_be_sent_again_once_the_conversation_exists() -> None:
    chat = Chat()
    log: list[Fact] = [chat.deferred("x"), over(chat, "x"), chat.received("a"), chat.resend("x"), chat.queued("x")]
    reference = fold_all(log)
    assert (message_of(reference, chat, "x").channel_id, message_of(reference, chat, "x").attempt) == (
        chat.channel_id,
        1,
    )
    assert announced(reference, chat, "x") == ["message.created", "message.updated"]


def test_a_waiting_one_can_be_cancelled() -> None:
    chat = Chat()
    reference = fold_all([chat.deferred("x"), chat.cancel("x"), chat.received("a"), chat.queued("x")])
    assert message_of(reference, chat, "x").delivery is DeliveryState.FAILED
    assert announced(reference, chat, "x") == ["message.created"]


def test_nothing_else_changes_it_while_it_waits() -> None:
    chat = Chat()
    others: list[Fact] = [
        chat.started("x"),
        chat.succeeded("x", 1),
        chat.failed("x", 0, retry_at_ms=START_MS + 1),
        chat.echoed("z", ours="x"),
        chat.metadata({"user_data.a": 1}, message_id=chat.outbound_id("x")),
    ]
    reference = fold_all([chat.deferred("x"), chat.received("a"), *others])
    waiting = message_of(reference, chat, "x")
    assert (waiting.delivery, waiting.channel_id, waiting.metadata) == (DeliveryState.PENDING, "", {})
    assert announced(reference, chat, "x") == []
    assert bytes(waiting.canonical) == bytes(NULL)
