"""Messages arrive, are echoed, edited, deleted and reacted to."""

import msgspec
import pytest

from airy.model import window
from airy.model.conversation import PARKED_MAX, REACTIONS_MAX, Conversation, Message
from airy.model.delivery import Delivery
from airy.model.fact import Fact
from tests.kit.builders import Chat
from tests.kit.fold import Reference, fold_all


def after(chat: Chat, *facts: Fact) -> tuple[Reference, Conversation, dict[str, Message]]:
    """The fold, its one conversation, and the messages by id."""
    told = fold_all(facts)
    messages = {message.id: message for message in told.state(chat.conversation_id).messages()}
    return told, told.conversation(chat.conversation_id), messages


def text_of(message: Message) -> object:
    return msgspec.json.decode(message.content)


def test_the_first_message_opens_its_conversation() -> None:
    chat = Chat()
    _, conversation, messages = after(chat, chat.received("a", "hi", window_until_ms=5, reply_to="m_9", standby=True))
    message = messages[chat.inbound_id("a")]
    assert (conversation.participant_id, conversation.unread_count, conversation.sequence) == (
        chat.participant_id,
        1,
        1,
    )
    assert (conversation.last_message_id, conversation.created_at_ms) == (message.id, message.sent_at_ms)
    assert (message.delivery, message.from_contact, message.sender_id) == (
        Delivery.DELIVERED,
        True,
        chat.participant_id,
    )
    assert (message.provider_id, message.reply_to, message.standby) == (chat.provider_id("a"), "m_9", True)


def test_a_message_told_twice_is_one_message() -> None:
    """Even by a fact with another id."""
    chat = Chat()
    told, conversation, messages = after(
        chat, chat.received("a"), chat.received("a"), chat.received("a", fact_id="other")
    )
    assert (len(messages), conversation.unread_count, conversation.sequence) == (1, 1, 1)
    assert [change.kind.value for change in told.changes].count("message.created") == 1


def test_each_message_of_a_contact_is_unread_and_none_of_ours() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.received("b", standby=True), chat.queued("x"), chat.echoed("z")]
    assert after(chat, *facts)[1].unread_count == 2


def test_created_is_the_earliest_and_last_the_latest_whatever_came_first() -> None:
    chat = Chat()
    facts = [chat.received("b", at_ms=2000), chat.received("c", at_ms=3000), chat.received("a", at_ms=1000)]
    _, conversation, _ = after(chat, *facts)
    assert (conversation.created_at_ms, conversation.last_message_at_ms) == (1000, 3000)
    assert (conversation.last_message_id, conversation.updated_at_ms) == (chat.inbound_id("c"), 3000)


def test_of_two_messages_sent_at_once_the_later_folded_is_last() -> None:
    chat = Chat()
    _, conversation, _ = after(chat, chat.received("a", at_ms=1000), chat.received("b", at_ms=1000))
    assert conversation.last_message_id == chat.inbound_id("b")


def test_the_window_is_the_latest_end_anybody_mentioned() -> None:
    chat = Chat()
    facts = [chat.received("a", window_until_ms=9), chat.received("b", window_until_ms=5), chat.received("c")]
    _, conversation, _ = after(chat, *facts)
    assert conversation.window_until_ms == 9
    assert window.is_open(conversation, 8)
    assert not window.is_open(conversation, 9)


def test_without_a_window_answering_is_always_possible() -> None:
    chat = Chat()
    assert window.is_open(after(chat, chat.received("a"))[1], 10**15)


# --- queued


def test_a_queued_message_waits_for_its_connector() -> None:
    chat = Chat()
    _, conversation, messages = after(chat, chat.received("a"), chat.queued("x", expires_at_ms=77))
    ours = messages[chat.outbound_id("x")]
    assert (ours.delivery, ours.from_contact, ours.recipient_id) == (Delivery.PENDING, False, chat.participant_id)
    assert (ours.expires_at_ms, ours.attempt, ours.worker) == (77, 0, None)
    assert conversation.last_message_id == ours.id


def test_a_message_may_open_a_conversation_if_it_says_to_whom() -> None:
    chat = Chat()
    told, conversation, _ = after(chat, chat.queued("x", recipient_id="+49301"))
    assert told.accepted == dict.fromkeys(told.accepted, True)
    assert conversation.participant_id == "+49301"


def test_a_message_to_nobody_is_rejected() -> None:
    chat = Chat()
    told = fold_all([chat.queued("x")])
    assert list(told.accepted.values()) == [False]
    assert told.state(chat.conversation_id).conversation() is None


def test_two_writers_with_one_message_id_queue_one_message() -> None:
    chat = Chat()
    told, conversation, messages = after(
        chat, chat.received("a"), chat.queued("x", "first"), chat.queued("x", "second")
    )
    assert text_of(messages[chat.outbound_id("x")]) == {"text": "first"}
    assert list(told.accepted.values()) == [True, True, False]
    assert conversation.sequence == 2


# --- echoes


def sending(chat: Chat) -> list[Fact]:
    return [chat.received("a"), chat.queued("x"), chat.started("x")]


@pytest.mark.parametrize("start", ["sending", "unknown", "failed", "waiting to retry"])
def test_an_echo_with_our_id_settles_our_message(start: str) -> None:
    chat = Chat()
    facts = sending(chat)
    if start == "unknown":
        facts.append(chat.unknown("x"))
    elif start == "failed":
        facts.append(chat.failed("x"))
    elif start == "waiting to retry":
        facts.append(chat.failed("x", retry_at_ms=5))
    _, conversation, messages = after(chat, *facts, chat.echoed("p", ours="x"))
    ours = messages[chat.outbound_id("x")]
    assert (ours.delivery, ours.provider_id, len(messages)) == (Delivery.SENT, chat.provider_id("p"), 2)
    assert "error" not in ours.metadata
    assert conversation.message_count == 2


def test_an_echo_with_a_known_provider_id_is_our_message() -> None:
    chat = Chat()
    facts = [*sending(chat), chat.succeeded("x", provider="p")]
    told, _, messages = after(chat, *facts, chat.echoed("p"))
    assert len(messages) == 2
    assert told.changes[-1].kind != "message.created"


def test_an_echo_of_a_message_written_elsewhere_is_a_new_message() -> None:
    chat = Chat()
    told, conversation, messages = after(
        chat, chat.received("a"), chat.echoed("z", "from the inbox", sender_id="facebook:inbox")
    )
    other = messages[chat.inbound_id("z")]
    assert (other.delivery, other.from_contact, other.sender_id) == (Delivery.SENT, False, "facebook:inbox")
    assert (conversation.unread_count, conversation.last_message_id) == (1, other.id)
    assert "message.created" in {change.kind for change in told.changes if change.sequence == 2}


def test_an_echo_of_what_a_contact_wrote_is_nonsense() -> None:
    chat = Chat()
    echo = msgspec.structs.replace(chat.echoed("a"), message_id="another id")
    told, _, messages = after(chat, chat.received("a"), echo)
    assert (list(told.accepted.values()), len(messages)) == ([True, False], 1)


def test_an_echo_that_names_a_message_nobody_knows_is_a_new_message() -> None:
    chat = Chat()
    assert chat.inbound_id("z") in after(chat, chat.echoed("z", ours="never queued"))[2]


def test_an_echo_that_came_before_our_outcome_is_merged_into_our_message() -> None:
    """The copy it made is deleted; what was said about the copy belongs to ours."""
    chat = Chat()
    facts: list[Fact] = [
        *sending(chat),
        chat.echoed("p"),
        chat.edited("p", "corrected"),
        chat.reacted("p", "👍"),
        chat.receipt(Delivery.DELIVERED, "p"),
        chat.succeeded("x", provider="p"),
    ]
    told, conversation, messages = after(chat, *facts)
    ours, copy = messages[chat.outbound_id("x")], messages[chat.inbound_id("p")]
    assert (ours.delivery, ours.provider_id, text_of(ours)) == (
        Delivery.DELIVERED,
        chat.provider_id("p"),
        {"text": "corrected"},
    )
    assert ours.reactions[chat.participant_id].emoji == "👍"
    assert (copy.deleted, copy.provider_id, conversation.last_message_id) == (True, None, ours.id)
    assert [change.kind for change in told.changes if change.sequence == conversation.sequence] == [
        "message.updated",
        "message.deleted",
        "conversation.updated",
    ]
    assert told.state(chat.conversation_id).message_by_provider_id(chat.provider_id("p")) == ours


def test_a_copy_that_the_provider_deleted_deletes_our_message_too() -> None:
    chat = Chat()
    facts: list[Fact] = [*sending(chat), chat.echoed("p"), chat.deleted("p"), chat.succeeded("x", provider="p")]
    _, conversation, messages = after(chat, *facts)
    assert messages[chat.outbound_id("x")].deleted
    assert conversation.last_message_id == chat.inbound_id("a")


def test_a_message_the_provider_got_twice_is_two_messages() -> None:
    chat = Chat()
    facts = [*sending(chat), chat.echoed("p", ours="x"), chat.echoed("q", ours="x")]
    assert set(after(chat, *facts)[2]) == {chat.inbound_id("a"), chat.outbound_id("x"), chat.inbound_id("q")}


# --- edits, deletions, reactions


def test_edits_only_go_forward() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.edited("a", "second", 2), chat.edited("a", "first", 1)]
    told, conversation, messages = after(chat, *facts)
    assert text_of(messages[chat.inbound_id("a")]) == {"text": "second"}
    assert (list(told.accepted.values()), conversation.sequence) == ([True, True, False], 2)


def test_edits_of_one_revision_agree_on_one_of_them() -> None:
    chat = Chat()
    edits = [
        chat.edited("a", "one", 1, at_ms=50),
        chat.edited("a", "two", 1, at_ms=50),
        chat.edited("a", "old", 1, at_ms=40),
    ]
    received = chat.received("a")
    one_way = after(chat, received, *edits)[2]
    other_way = after(chat, received, *reversed(edits))[2]
    assert text_of(one_way[chat.inbound_id("a")]) == text_of(other_way[chat.inbound_id("a")]) == {"text": "two"}


def test_deleting_falls_back_to_the_message_before_and_lowers_unread() -> None:
    chat = Chat()
    told, conversation, messages = after(chat, chat.received("a"), chat.received("b"), chat.deleted("b"))
    assert (conversation.unread_count, conversation.last_message_id) == (1, chat.inbound_id("a"))
    assert text_of(messages[chat.inbound_id("b")]) is None
    assert [change.kind for change in told.changes if change.sequence == 3] == [
        "message.deleted",
        "conversation.updated",
        "metadata.updated",
    ]


def test_nothing_of_a_deleted_message_is_kept() -> None:
    chat = Chat()
    received = msgspec.structs.replace(chat.received("a"), headers={"postback.payload": "HOURS"})
    messages = after(chat, received, chat.edited("a", "new"), chat.reacted("a"), chat.deleted("a"))[2]
    gone = messages[chat.inbound_id("a")]
    assert (text_of(gone), gone.headers, gone.reactions, gone.revision) == (None, {}, {}, 0)


def test_deleting_the_only_message_leaves_a_conversation_without_a_last_one() -> None:
    chat = Chat()
    told, conversation, _ = after(chat, chat.received("a"), chat.deleted("a"))
    assert (conversation.last_message_id, conversation.unread_count) == (None, 0)
    assert "last_message" not in msgspec.json.decode(told.changes[-2].body)["payload"]


def test_deleting_a_message_that_was_read_changes_no_count() -> None:
    chat = Chat()
    _, conversation, _ = after(chat, chat.received("a"), chat.read(), chat.received("b"), chat.deleted("a"))
    assert conversation.unread_count == 1


def test_nothing_happens_to_a_deleted_message() -> None:
    chat = Chat()
    late: list[Fact] = [
        chat.edited("a", "zombie", 9),
        chat.reacted("a"),
        chat.deleted("a"),
        chat.received("a", fact_id="again"),
    ]
    late.append(chat.metadata({"user_data.x": 1}, message_id=chat.inbound_id("a")))
    told, conversation, _ = after(chat, chat.received("a"), chat.deleted("a"), *late)
    assert conversation.sequence == 2
    assert sum(told.accepted.values()) == 2


def test_a_message_that_was_deleted_before_it_came_is_never_shown() -> None:
    chat = Chat()
    told, conversation, messages = after(chat, chat.deleted("a"), chat.received("a"), chat.received("b"))
    assert messages[chat.inbound_id("a")].deleted
    assert (conversation.unread_count, conversation.last_message_id) == (1, chat.inbound_id("b"))
    assert [change.sequence for change in told.changes if change.kind == "message.created"] == [3]


def test_a_reaction_older_than_the_actors_last_one_changes_nothing() -> None:
    chat = Chat()
    facts: list[Fact] = [
        chat.received("a"),
        chat.reacted("a", "❤️", at_ms=20),
        chat.reacted("a", None, at_ms=30),
        chat.reacted("a", "👍", at_ms=25),
    ]
    told, _, messages = after(chat, *facts)
    assert messages[chat.inbound_id("a")].reactions[chat.participant_id].emoji is None
    assert list(told.accepted.values()) == [True, True, True, False]


def test_reactions_given_at_once_agree_on_one_of_them() -> None:
    chat = Chat()
    reactions = [chat.reacted("a", emoji, at_ms=10) for emoji in ("❤️", None, "👍")]
    received = chat.received("a")
    ways = [after(chat, received, *order)[2] for order in (reactions, reactions[::-1])]
    assert {way[chat.inbound_id("a")].reactions[chat.participant_id].emoji for way in ways} == {"👍"}


def test_a_reaction_that_nobody_sees_is_not_announced() -> None:
    """Taking back what was never given, and being older than the one that is shown."""
    chat = Chat()
    facts: list[Fact] = [
        chat.received("a"),
        chat.reacted("a", None, at_ms=10),
        chat.reacted("a", "❤️", at_ms=20, actor="1"),
        chat.reacted("a", "👍", at_ms=15, actor="2"),
    ]
    told, _, _ = after(chat, *facts)
    assert list(told.accepted.values()) == [True] * 4
    assert {change.sequence for change in told.changes} == {1, 3}


def test_reactions_are_bounded() -> None:
    chat = Chat()
    many = [chat.reacted("a", "👍", actor=str(number), at_ms=number) for number in range(REACTIONS_MAX + 5)]
    _, _, messages = after(chat, chat.received("a"), *many)
    assert set(messages[chat.inbound_id("a")].reactions) == {str(number) for number in range(5, REACTIONS_MAX + 5)}


# --- before the message


def test_what_comes_before_its_message_waits_for_it() -> None:
    chat = Chat()
    early: list[Fact] = [
        chat.edited("a", "corrected", 1),
        chat.reacted("a", "👍"),
        chat.receipt(Delivery.READ, "z"),
        chat.receipt(Delivery.FAILED, "y"),
    ]
    told, conversation, messages = after(chat, *early, chat.received("a"), chat.echoed("z"), chat.echoed("y"))
    assert text_of(messages[chat.inbound_id("a")]) == {"text": "corrected"}
    assert messages[chat.inbound_id("a")].reactions[chat.participant_id].emoji == "👍"
    assert messages[chat.inbound_id("z")].delivery is Delivery.READ
    assert messages[chat.inbound_id("y")].delivery is Delivery.FAILED
    assert conversation.parked == {}
    assert told.changes[0].kind == "message.created"
    assert b"corrected" in told.changes[0].body


def test_a_conversation_of_news_only_is_shown_to_nobody() -> None:
    chat = Chat()
    news: list[Fact] = [chat.reacted("a"), chat.receipt(Delivery.READ, watermark_ms=5), chat.noted(), chat.handover()]
    told, conversation, _ = after(chat, *news)
    assert all(told.accepted.values())
    assert not told.changes
    assert not conversation.visible
    refused: list[Fact] = [
        chat.read(),
        chat.tag_added("t"),
        chat.metadata({"user_data.a": 1}),
        chat.state_changed("OPEN"),
    ]
    assert not any(told.fold(fact).accepted for fact in refused)
    assert told.fold(chat.received("a")).changes
    assert told.conversation(chat.conversation_id).visible


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    chat = Chat()
    news = [chat.receipt(Delivery.READ, number) for number in range(PARKED_MAX + 3)]
    _, conversation, _ = after(chat, *news)
    assert list(conversation.parked) == [chat.provider_id(number) for number in range(3, PARKED_MAX + 3)]


def test_news_that_was_heard_before_is_rejected_while_it_waits() -> None:
    chat = Chat()
    news: list[Fact] = [
        chat.receipt(Delivery.READ, "z"),
        chat.receipt(Delivery.DELIVERED, "z"),
        chat.deleted("z"),
        chat.deleted("z"),
        chat.edited("z", "x"),
        chat.reacted("z"),
    ]
    told, conversation, _ = after(chat, *news)
    assert list(told.accepted.values()) == [True, False, True, False, False, False]
    assert conversation.sequence == 2
