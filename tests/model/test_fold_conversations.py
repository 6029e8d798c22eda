"""Metadata, profile, reading, tags, state, and who owns the thread."""

import msgspec
import pytest

from airy.model.fact import Fact
from airy.model.fold_conversation import TAGS_MAX
from airy.model.metadata import KEYS_MAX, PARTS_MAX
from airy.model.render import conversation_metadata
from tests.kit.builders import Chat
from tests.kit.fold import Reference, fold_all


def opened(chat: Chat, *facts: Fact) -> Reference:
    return fold_all([chat.received("a"), *facts])


def document(told: Reference, chat: Chat) -> dict[str, object]:
    conversation = told.conversation(chat.conversation_id)
    shown: dict[str, object] = msgspec.json.decode(msgspec.json.encode(conversation_metadata(conversation)))
    return shown


def kinds(told: Reference, sequence: int) -> list[str]:
    return [change.kind.value for change in told.changes if change.sequence == sequence]


# --- metadata


def test_metadata_are_set_and_removed_by_key() -> None:
    chat = Chat()
    told = opened(
        chat, chat.metadata({"user_data.a.b": 1, "user_data.c": [2]}), chat.metadata({}, remove=("user_data.a",))
    )
    assert document(told, chat)["user_data"] == {"c": [2]}
    assert kinds(told, 2) == ["conversation.updated", "metadata.updated"]


def test_metadata_that_say_nothing_new_are_rejected() -> None:
    chat = Chat()
    told = opened(chat, chat.metadata({"user_data.a": 1}))
    assert not told.fold(chat.metadata({"user_data.a": 1})).accepted
    assert not told.fold(chat.metadata({}, remove=("user_data.b",))).accepted


def test_metadata_of_a_message_are_told_as_an_update_and_as_metadata() -> None:
    chat = Chat()
    told = opened(chat, chat.metadata({"suggestions.ack.content": {"text": "On it!"}}, message_id=chat.inbound_id("a")))
    assert kinds(told, 2) == ["message.updated", "metadata.updated", "conversation.updated"]
    payload = msgspec.json.decode(told.changes[-2].body)["payload"]
    assert payload["subject"] == "message"
    assert payload["identifier"] == chat.inbound_id("a")
    assert payload["metadata"]["suggestions"] == {"ack": {"content": {"text": "On it!"}}}


@pytest.mark.parametrize("message_id", ["nobody's", None])
def test_metadata_of_what_is_not_here_are_rejected(message_id: str | None) -> None:
    chat = Chat()
    fact = chat.metadata({"user_data.a": 1}, message_id=message_id)
    if message_id is None:
        fact = msgspec.structs.replace(fact, subject_id="another conversation")
    assert not opened(chat).fold(fact).accepted


@pytest.mark.parametrize("key", ["unread_count", "tags.t", "state"])
def test_what_follows_from_state_cannot_be_set(key: str) -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.metadata({key: 7})).accepted


@pytest.mark.parametrize("key", ["error", "source", "source.id", "reaction.emoji", "user_read"])
def test_what_follows_from_a_message_cannot_be_set_or_removed(key: str) -> None:
    chat = Chat()
    told = opened(chat, chat.queued("x"), chat.started("x"), chat.failed("x"))
    about = chat.outbound_id("x")
    assert not told.fold(chat.metadata({key: 7}, message_id=about)).accepted
    assert not told.fold(chat.metadata({}, remove=(key,), message_id=about)).accepted


def test_metadata_are_bounded() -> None:
    chat = Chat()
    told = opened(chat)
    assert not told.fold(chat.metadata({str(number): 1 for number in range(KEYS_MAX + 1)})).accepted
    assert not told.fold(chat.metadata({".".join("a" * (PARTS_MAX + 1)): 1})).accepted
    assert not told.fold(
        chat.metadata({str(number): 1 for number in range(KEYS_MAX + 1)}, message_id=chat.inbound_id("a"))
    ).accepted


# --- profile


def test_a_profile_names_the_contact() -> None:
    chat = Chat()
    told = opened(chat, chat.profile("Ines Kuhn", "http://a/b"))
    assert document(told, chat)["contact"] == {
        "display_name": "Ines Kuhn",
        "avatar_url": "http://a/b",
        "fetch_state": "ok",
    }


def test_a_provider_that_knows_nothing_is_remembered_as_that() -> None:
    chat = Chat()
    told = opened(chat, chat.profile(None, found=False))
    assert document(told, chat)["contact"] == {"fetch_state": "failed"}


def test_a_profile_never_overwrites_what_a_person_set() -> None:
    chat = Chat()
    told = opened(chat, chat.metadata({"contact.display_name": "Auntie"}), chat.profile("Ines Kuhn", "http://a/b"))
    assert document(told, chat)["contact"]["display_name"] == "Auntie"  # type: ignore[index]
    assert document(told, chat)["contact"]["avatar_url"] == "http://a/b"  # type: ignore[index]


def test_a_profile_refreshes_what_a_profile_set_until_a_person_does() -> None:
    chat = Chat()
    told = opened(chat, chat.profile("Ines"), chat.refetch())
    assert "fetch_state" not in document(told, chat)["contact"]  # type: ignore[operator]
    told.fold_all([chat.profile("Ines Kuhn"), chat.metadata({"contact.display_name": "Ines Kuhn"}), chat.refetch()])
    told.fold(chat.profile("I. K."))
    assert document(told, chat)["contact"]["display_name"] == "Ines Kuhn"  # type: ignore[index]


def test_a_name_that_a_person_removed_is_the_providers_again() -> None:
    chat = Chat()
    told = opened(
        chat, chat.metadata({"contact.display_name": "A"}), chat.metadata({}, remove=("contact.display_name",))
    )
    told.fold(chat.profile("Ines"))
    assert document(told, chat)["contact"]["display_name"] == "Ines"  # type: ignore[index]


def test_refetching_what_was_never_fetched_is_rejected() -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.refetch()).accepted


# --- reading


def test_reading_clears_the_count_and_marks_what_was_there() -> None:
    chat = Chat()
    told = opened(chat, chat.received("b"), chat.read())
    conversation = told.conversation(chat.conversation_id)
    assert (conversation.unread_count, conversation.read_sequence) == (0, 3)
    assert kinds(told, 3) == ["conversation.updated", "metadata.updated"]
    last = msgspec.json.decode(told.changes[-2].body)["payload"]["last_message"]
    assert "user_read" in last["metadata"]


def test_reading_what_is_read_is_rejected() -> None:
    chat = Chat()
    assert not opened(chat, chat.read()).fold(chat.read()).accepted


def test_a_reading_told_again_later_reads_nothing() -> None:
    chat = Chat()
    reading = chat.read()
    told = opened(chat, reading, chat.received("b"), reading)
    assert told.conversation(chat.conversation_id).unread_count == 1


# --- tags and state


def test_tags_are_there_or_not() -> None:
    chat = Chat()
    told = opened(chat, chat.tag_added("t1"), chat.tag_added("t2"), chat.tag_added("t1"), chat.tag_removed("t2"))
    assert document(told, chat)["tags"] == {"t1": ""}
    assert list(told.accepted.values()) == [True, True, True, False, True]
    told.fold(chat.tag_removed("t1"))
    assert "tags" not in document(told, chat)
    assert not told.fold(chat.tag_removed("t1")).accepted


def test_a_tag_added_again_after_it_was_removed_by_the_same_fact_stays_removed() -> None:
    chat = Chat()
    adding = chat.tag_added("t1")
    told = opened(chat, adding, chat.tag_removed("t1"), adding)
    assert "tags" not in document(told, chat)


def test_a_removal_that_came_too_early_does_not_come_true_later() -> None:
    chat = Chat()
    removing = chat.tag_removed("t1")
    told = opened(chat, removing, chat.tag_added("t1"), removing)
    assert document(told, chat)["tags"] == {"t1": ""}


def test_tags_are_bounded() -> None:
    chat = Chat()
    told = opened(chat, *(chat.tag_added(str(number)) for number in range(TAGS_MAX)))
    assert not told.fold(chat.tag_added("one more")).accepted


def test_any_word_is_a_state_and_none_removes_it() -> None:
    chat = Chat()
    told = opened(chat, chat.state_changed("open"))
    assert document(told, chat)["state"] == "open"
    assert not told.fold(chat.state_changed("open")).accepted
    assert told.fold(chat.state_changed(None)).accepted
    assert "state" not in document(told, chat)


# --- the provider's notes


def test_a_referral_is_the_latest_one() -> None:
    chat = Chat()
    told = opened(chat, chat.noted(referral="late", at_ms=20), chat.noted(referral="early", at_ms=10))
    assert document(told, chat)["source"] == {"referral": "late"}


def test_a_referral_that_a_person_removed_does_not_come_back() -> None:
    chat = Chat()
    note = chat.noted()
    told = opened(chat, note, chat.metadata({}, remove=("source.referral",)), note)
    assert "source" not in document(told, chat)


def test_a_note_without_consequence_stays_in_the_log_only() -> None:
    chat = Chat()
    note = chat.noted("optin", referral=None)
    told = opened(chat, note)
    assert not told.accepted[note.id]
    assert note.id not in told.state(chat.conversation_id).memory


def test_the_owner_of_the_thread_is_who_got_it_last() -> None:
    chat = Chat()
    told = opened(chat, chat.handover("pass", "7", at_ms=20), chat.handover("pass", "8", at_ms=10))
    assert told.conversation(chat.conversation_id).handover_owner == "7"
    assert told.fold(chat.handover("take", None, at_ms=30)).accepted
    assert told.conversation(chat.conversation_id).handover_owner is None


def test_owners_named_at_once_agree_on_one_of_them() -> None:
    chat = Chat()
    handovers = [chat.handover("pass", owner, at_ms=20) for owner in ("7", None, "8")]
    for order in (handovers, handovers[::-1]):
        assert opened(chat, *order).conversation(chat.conversation_id).handover_owner == "8"


@pytest.mark.parametrize("action", ["request", "roles"])
def test_asking_for_the_thread_does_not_move_it(action: str) -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.handover(action, "7")).accepted


@pytest.mark.parametrize("visible", [True, False])
def test_nobody_changes_a_conversation_that_is_not_there(visible: bool) -> None:
    """Rejected, and remembered as rejected."""
    chat = Chat()
    told = Reference() if visible else fold_all([chat.reacted("a")])
    before = told.state(chat.conversation_id).conversation()
    facts: list[Fact] = [
        chat.read(),
        chat.tag_added("t"),
        chat.tag_removed("t"),
        chat.state_changed("OPEN"),
        chat.metadata({"a": 1}),
        chat.profile(),
        chat.refetch(),
        chat.resend("x"),
        chat.started("x"),
        chat.succeeded("x"),
        chat.failed("x"),
        chat.unknown("x"),
    ]
    assert not any(told.fold(fact).accepted for fact in facts)
    assert told.state(chat.conversation_id).conversation() == before
    assert {fact.id for fact in facts} <= set(told.state(chat.conversation_id).memory)
