"""Messages are received, echoed, queued, edited, deleted and reacted to."""

import msgspec
import pytest
from msgspec.structs import replace

from airy.model import messaging_window as window
from airy.model.conversation import PENDING_REPORTS_MAX, REACTIONS_MAX, Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from airy.model.render import latest_reaction
from tests.kit.builders import Chat, raw
from tests.kit.fold import ReferenceFold, fold_all


def after(chat: Chat, *facts: Fact) -> tuple[ReferenceFold, Conversation, dict[str, Message]]:
    """The fold, its one conversation, and the messages by id."""
    reference = fold_all(facts)
    messages = {message.id: message for message in reference.state(chat.conversation_id).messages()}
    return reference, reference.conversation(chat.conversation_id), messages


def text_of(message: Message) -> object:
    return msgspec.json.decode(message.content)


def test_the_first_message_creates_its_conversation() -> None:
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
        DeliveryState.DELIVERED,
        True,
        chat.participant_id,
    )
    assert (message.provider_id, message.reply_to, message.standby) == (chat.provider_id("a"), "m_9", True)


def test_a_duplicate_message_is_one_message() -> None:
    """Also if the duplicate is a fact with another id."""
    chat = Chat()
    reference, conversation, messages = after(
        chat, chat.received("a"), chat.received("a"), chat.received("a", fact_id="other")
    )
    assert (len(messages), conversation.unread_count, conversation.sequence) == (1, 1, 1)
    assert [change.kind.value for change in reference.changes].count("message.created") == 1


def test_inbound_messages_are_unread_and_outbound_ones_are_not() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.received("b", standby=True), chat.queued("x"), chat.echoed("z")]
    assert after(chat, *facts)[1].unread_count == 2


def test_creation_time_does_not_depend_on_order() -> None:
    chat = Chat()
    facts = [chat.received("b", at_ms=2000), chat.received("c", at_ms=3000), chat.received("a", at_ms=1000)]
    _, conversation, _ = after(chat, *facts)
    assert (conversation.created_at_ms, conversation.updated_at_ms) == (1000, 3000)


def test_an_answer_is_last_although_the_question_is_stamped_ahead_of_our_clock() -> None:
    chat = Chat()
    question = replace(chat.received("a", at_ms=6000), arrived_at_ms=1000)
    _, conversation, _ = after(chat, question, chat.queued("x", at_ms=3000))
    assert conversation.last_message_id == chat.outbound_id("x")
    assert (conversation.last_message_at_ms, conversation.activity_at_ms) == (3000, 3000)


def test_activity_is_the_arrival_of_the_newest_message_and_never_falls() -> None:
    """A message from long ago, a clock that steps back, and the deletion of the last message."""
    chat = Chat()
    late = replace(chat.received("a", at_ms=5), arrived_at_ms=9000)
    stepped_back = chat.queued("x", at_ms=8000)
    for log in ([late], [late, stepped_back], [late, stepped_back, chat.deleted("a")]):
        assert after(chat, *log)[1].activity_at_ms == 9000


def test_the_window_ends_at_the_latest_reported_end() -> None:
    chat = Chat()
    facts = [chat.received("a", window_until_ms=9), chat.received("b", window_until_ms=5), chat.received("c")]
    _, conversation, _ = after(chat, *facts)
    assert conversation.window_until_ms == 9
    assert window.is_open(conversation, 8)
    assert not window.is_open(conversation, 9)


def test_without_a_window_replies_are_always_possible() -> None:
    chat = Chat()
    assert window.is_open(after(chat, chat.received("a"))[1], 10**15)


# --- queued


def test_a_queued_message_is_pending() -> None:
    chat = Chat()
    _, conversation, messages = after(chat, chat.received("a"), chat.queued("x", expires_at_ms=77))
    ours = messages[chat.outbound_id("x")]
    assert (ours.delivery, ours.from_contact, ours.recipient_id) == (DeliveryState.PENDING, False, chat.participant_id)
    assert (ours.expires_at_ms, ours.attempt, ours.worker) == (77, 0, None)
    assert conversation.last_message_id == ours.id


def test_a_queued_message_with_a_recipient_creates_its_conversation() -> None:
    chat = Chat()
    reference, conversation, _ = after(chat, chat.queued("x", recipient_id="+49301"))
    assert reference.accepted == dict.fromkeys(reference.accepted, True)
    assert conversation.participant_id == "+49301"


def test_a_message_without_recipient_is_rejected() -> None:
    chat = Chat()
    reference = fold_all([chat.queued("x")])
    assert list(reference.accepted.values()) == [False]
    assert reference.state(chat.conversation_id).conversation() is None


def test_two_writers_with_one_message_id_queue_one_message() -> None:
    chat = Chat()
    reference, conversation, messages = after(
        chat, chat.received("a"), chat.queued("x", "first"), chat.queued("x", "second")
    )
    assert text_of(messages[chat.outbound_id("x")]) == {"text": "first"}
    assert list(reference.accepted.values()) == [True, True, False]
    assert conversation.sequence == 2


# --- echoes


def sending(chat: Chat) -> list[Fact]:
    return [chat.received("a"), chat.queued("x"), chat.started("x")]


@pytest.mark.parametrize("start", ["sending", "unknown", "failed", "waiting to retry"])
def test_an_echo_with_our_message_id_settles_the_message(start: str) -> None:
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
    assert (ours.delivery, ours.provider_id, len(messages)) == (DeliveryState.SENT, chat.provider_id("p"), 2)
    assert "error" not in ours.metadata
    assert conversation.message_count == 2


def test_an_echo_with_a_known_provider_id_is_that_message() -> None:
    chat = Chat()
    facts = [*sending(chat), chat.succeeded("x", provider="p")]
    reference, _, messages = after(chat, *facts, chat.echoed("p"))
    assert len(messages) == 2
    assert reference.changes[-1].kind != "message.created"


def test_an_echo_of_another_apps_message_is_a_new_message() -> None:
    chat = Chat()
    reference, conversation, messages = after(
        chat, chat.received("a"), chat.echoed("z", "from the inbox", sender_id="facebook:inbox")
    )
    other = messages[chat.inbound_id("z")]
    assert (other.delivery, other.from_contact, other.sender_id) == (DeliveryState.SENT, False, "facebook:inbox")
    assert (conversation.unread_count, conversation.last_message_id) == (1, other.id)
    assert "message.created" in {change.kind for change in reference.changes if change.sequence == 2}


def test_an_echo_of_an_inbound_message_is_rejected() -> None:
    chat = Chat()
    echo = msgspec.structs.replace(chat.echoed("a"), message_id="another id")
    reference, _, messages = after(chat, chat.received("a"), echo)
    assert (list(reference.accepted.values()), len(messages)) == ([True, False], 1)


def test_an_echo_with_an_unknown_message_id_is_a_new_message() -> None:
    chat = Chat()
    assert chat.inbound_id("z") in after(chat, chat.echoed("z", ours="never queued"))[2]


def test_an_echo_before_the_outcome_is_merged_into_the_message() -> None:
    """The copy made by the echo is deleted; its reports are moved to the original."""
    chat = Chat()
    facts: list[Fact] = [
        *sending(chat),
        chat.echoed("p"),
        chat.edited("p", "corrected"),
        chat.reacted("p", "👍"),
        chat.receipt(DeliveryState.DELIVERED, "p"),
        chat.succeeded("x", provider="p"),
    ]
    reference, conversation, messages = after(chat, *facts)
    ours, copy = messages[chat.outbound_id("x")], messages[chat.inbound_id("p")]
    assert (ours.delivery, ours.provider_id, text_of(ours)) == (
        DeliveryState.DELIVERED,
        chat.provider_id("p"),
        {"text": "corrected"},
    )
    assert ours.reactions[chat.participant_id].emoji == "👍"
    assert (copy.deleted, copy.provider_id, conversation.last_message_id) == (True, None, ours.id)
    assert [change.kind for change in reference.changes if change.sequence == conversation.sequence] == [
        "message.updated",
        "message.deleted",
        "conversation.updated",
    ]
    assert reference.state(chat.conversation_id).message_by_provider_id(chat.provider_id("p")) == ours


def test_a_copy_that_the_provider_deleted_deletes_the_message() -> None:
    chat = Chat()
    facts: list[Fact] = [*sending(chat), chat.echoed("p"), chat.deleted("p"), chat.succeeded("x", provider="p")]
    _, conversation, messages = after(chat, *facts)
    assert messages[chat.outbound_id("x")].deleted
    assert conversation.last_message_id == chat.inbound_id("a")


def test_a_message_that_was_sent_twice_is_two_messages() -> None:
    chat = Chat()
    facts = [*sending(chat), chat.echoed("p", ours="x"), chat.echoed("q", ours="x")]
    assert set(after(chat, *facts)[2]) == {chat.inbound_id("a"), chat.outbound_id("x"), chat.inbound_id("q")}


# --- edits, deletions, reactions


def test_edits_only_go_forward() -> None:
    """X-2."""
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.edited("a", "second", 2), chat.edited("a", "first", 1)]
    reference, conversation, messages = after(chat, *facts)
    assert text_of(messages[chat.inbound_id("a")]) == {"text": "second"}
    assert (list(reference.accepted.values()), conversation.sequence) == ([True, True, False], 2)


def test_of_edits_with_one_revision_the_later_counts_and_at_one_time_the_last_in_the_log() -> None:
    chat = Chat()
    one, two = chat.edited("a", "one", 1, at_ms=50), chat.edited("a", "two", 1, at_ms=50)
    old = chat.edited("a", "old", 1, at_ms=40)
    for order in ((one, two, old), (old, two, one)):
        last = [edit for edit in order if edit is not old][-1]
        assert after(chat, chat.received("a"), *order)[2][chat.inbound_id("a")].content == last.content


def test_deleting_the_last_message_restores_the_one_before_and_lowers_unread() -> None:
    chat = Chat()
    reference, conversation, messages = after(chat, chat.received("a"), chat.received("b"), chat.deleted("b"))
    assert (conversation.unread_count, conversation.last_message_id) == (1, chat.inbound_id("a"))
    assert text_of(messages[chat.inbound_id("b")]) is None
    assert [change.kind for change in reference.changes if change.sequence == 3] == [
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
    reference, conversation, _ = after(chat, chat.received("a"), chat.deleted("a"))
    assert (conversation.last_message_id, conversation.unread_count) == (None, 0)
    assert "last_message" not in msgspec.json.decode(reference.changes[-2].body)["payload"]


def test_deleting_a_message_that_was_read_changes_no_count() -> None:
    chat = Chat()
    _, conversation, _ = after(chat, chat.received("a"), chat.read(), chat.received("b"), chat.deleted("a"))
    assert conversation.unread_count == 1


def test_a_deleted_message_does_not_change() -> None:
    chat = Chat()
    late: list[Fact] = [
        chat.edited("a", "zombie", 9),
        chat.reacted("a"),
        chat.deleted("a"),
        chat.received("a", fact_id="again"),
    ]
    late.append(chat.metadata({"user_data.x": 1}, message_id=chat.inbound_id("a")))
    reference, conversation, _ = after(chat, chat.received("a"), chat.deleted("a"), *late)
    assert conversation.sequence == 2
    assert sum(reference.accepted.values()) == 2


def test_a_message_deleted_before_it_arrived_is_never_visible() -> None:
    chat = Chat()
    reference, conversation, messages = after(chat, chat.deleted("a"), chat.received("a"), chat.received("b"))
    assert messages[chat.inbound_id("a")].deleted
    assert (conversation.unread_count, conversation.last_message_id) == (1, chat.inbound_id("b"))
    assert [change.sequence for change in reference.changes if change.kind == "message.created"] == [3]


def test_a_reaction_older_than_the_actors_last_one_is_rejected() -> None:
    chat = Chat()
    facts: list[Fact] = [
        chat.received("a"),
        chat.reacted("a", "❤️", at_ms=20),
        chat.reacted("a", None, at_ms=30),
        chat.reacted("a", "👍", at_ms=25),
    ]
    reference, _, messages = after(chat, *facts)
    assert messages[chat.inbound_id("a")].reactions[chat.participant_id].emoji is None
    assert list(reference.accepted.values()) == [True, True, True, False]


def test_a_reaction_and_its_removal_at_one_time_leave_none() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.reacted("a", "👍", at_ms=10), chat.reacted("a", None, at_ms=10)]
    for log in (facts, [*facts[1:], facts[0]]):  # after the message, and before it
        assert latest_reaction(after(chat, *log)[2][chat.inbound_id("a")]) is None


def test_of_reactions_of_several_actors_at_one_time_the_last_in_the_log_is_rendered() -> None:
    chat = Chat()
    reactions = [chat.reacted("a", emoji, actor=actor, at_ms=10) for actor, emoji in (("1", "👍"), ("2", "❤️"))]
    for order in (reactions, reactions[::-1]):
        shown = latest_reaction(after(chat, chat.received("a"), *order)[2][chat.inbound_id("a")])
        assert shown is not None
        assert shown.emoji == order[-1].emoji


def test_edits_without_a_count_are_ordered_by_time_and_then_by_the_log() -> None:
    chat = Chat()
    edits = [(0, 10), (0, 20), (0, 15), (0, 20)]
    facts = [chat.edited("a", f"edit {nth}", count, at_ms=at_ms) for nth, (count, at_ms) in enumerate(edits)]
    reference, _, messages = after(chat, chat.received("a"), *facts)
    assert text_of(messages[chat.inbound_id("a")]) == {"text": "edit 3"}
    assert list(reference.accepted.values()) == [True, True, True, False, True]


def test_an_edit_without_a_count_follows_a_counted_one_and_is_followed_by_the_next() -> None:
    chat = Chat()
    facts = [chat.edited("a", f"edit {nth}", count, at_ms=10 + nth) for nth, count in enumerate((1, 0, 1, 2))]
    texts = [text_of(after(chat, chat.received("a"), *facts[:n])[2][chat.inbound_id("a")]) for n in range(1, 5)]
    assert texts == [{"text": f"edit {nth}"} for nth in range(4)]


def test_a_reaction_that_is_not_rendered_makes_no_change() -> None:
    """Removing a reaction that does not exist, and one older than the rendered reaction."""
    chat = Chat()
    facts: list[Fact] = [
        chat.received("a"),
        chat.reacted("a", None, at_ms=10),
        chat.reacted("a", "❤️", at_ms=20, actor="1"),
        chat.reacted("a", "👍", at_ms=15, actor="2"),
    ]
    reference, _, _ = after(chat, *facts)
    assert list(reference.accepted.values()) == [True] * 4
    assert {change.sequence for change in reference.changes} == {1, 3}


def test_reactions_are_bounded() -> None:
    chat = Chat()
    many = [chat.reacted("a", "👍", actor=str(number), at_ms=number) for number in range(REACTIONS_MAX + 5)]
    _, _, messages = after(chat, chat.received("a"), *many)
    assert set(messages[chat.inbound_id("a")].reactions) == {str(number) for number in range(5, REACTIONS_MAX + 5)}


# --- reports before their message


def test_reports_before_their_message_are_applied_to_it() -> None:
    chat = Chat()
    early: list[Fact] = [
        chat.edited("a", "corrected", 1),
        chat.reacted("a", "👍"),
        chat.receipt(DeliveryState.READ, "z"),
        chat.receipt(DeliveryState.FAILED, "y"),
    ]
    reference, conversation, messages = after(chat, *early, chat.received("a"), chat.echoed("z"), chat.echoed("y"))
    assert text_of(messages[chat.inbound_id("a")]) == {"text": "corrected"}
    assert messages[chat.inbound_id("a")].reactions[chat.participant_id].emoji == "👍"
    assert messages[chat.inbound_id("z")].delivery is DeliveryState.READ
    assert messages[chat.inbound_id("y")].delivery is DeliveryState.FAILED
    assert conversation.pending_reports == {}
    assert reference.changes[0].kind == "message.created"
    assert b"corrected" in reference.changes[0].body


def test_a_conversation_of_pending_reports_only_is_not_visible() -> None:
    chat = Chat()
    reports: list[Fact] = [
        chat.reacted("a"),
        chat.receipt(DeliveryState.READ, watermark_ms=5),
        chat.noted(),
        chat.handover(),
    ]
    reference, conversation, _ = after(chat, *reports)
    assert all(reference.accepted.values())
    assert not reference.changes
    assert not conversation.visible
    refused: list[Fact] = [
        chat.read(),
        chat.tag_added("t"),
        chat.metadata({"user_data.a": 1}),
        chat.state_changed("OPEN"),
    ]
    assert not any(reference.fold(fact).accepted for fact in refused)
    assert reference.fold(chat.received("a")).changes
    assert reference.conversation(chat.conversation_id).visible


def test_pending_reports_are_bounded_and_the_oldest_is_dropped() -> None:
    chat = Chat()
    reports = [chat.receipt(DeliveryState.READ, number) for number in range(PENDING_REPORTS_MAX + 3)]
    _, conversation, _ = after(chat, *reports)
    assert list(conversation.pending_reports) == [
        chat.provider_id(number) for number in range(3, PENDING_REPORTS_MAX + 3)
    ]


def test_a_pending_report_that_adds_nothing_is_rejected() -> None:
    chat = Chat()
    reports: list[Fact] = [
        chat.receipt(DeliveryState.READ, "z"),
        chat.receipt(DeliveryState.DELIVERED, "z"),
        chat.deleted("z"),
        chat.deleted("z"),
        chat.edited("z", "x"),
        chat.reacted("z"),
    ]
    reference, conversation, _ = after(chat, *reports)
    assert list(reference.accepted.values()) == [True, False, True, False, False, False]
    assert conversation.sequence == 2


# --- canonical content


def test_canonical_content_follows_the_content_through_edit_and_deletion() -> None:
    chat = Chat(1)
    said, edited = raw([{"type": "text", "text": "old"}]), raw([{"type": "text", "text": "new"}])
    log: list[Fact] = [replace(chat.received("a"), canonical=said)]
    assert bytes(fold_all(log).message(chat.conversation_id, chat.inbound_id("a")).canonical) == bytes(said)
    log.append(replace(chat.edited("a", "new"), canonical=edited))
    assert bytes(fold_all(log).message(chat.conversation_id, chat.inbound_id("a")).canonical) == bytes(edited)
    log.append(chat.deleted("a"))
    assert bytes(fold_all(log).message(chat.conversation_id, chat.inbound_id("a")).canonical) == b"null"


def test_an_edit_that_arrives_first_brings_its_canonical_content() -> None:
    chat = Chat(1)
    edited = raw([{"type": "text", "text": "new"}])
    log = [replace(chat.edited("a", "new"), canonical=edited), chat.received("a")]
    assert bytes(fold_all(log).message(chat.conversation_id, chat.inbound_id("a")).canonical) == bytes(edited)


def test_the_sender_of_a_group_message_is_not_its_recipient() -> None:
    chat = Chat(1)
    state = fold_all([replace(chat.received("a"), sender_id="7100001"), chat.queued("x")])
    assert state.message(chat.conversation_id, chat.inbound_id("a")).sender_id == "7100001"
    assert state.message(chat.conversation_id, chat.outbound_id("x")).recipient_id == chat.participant_id
