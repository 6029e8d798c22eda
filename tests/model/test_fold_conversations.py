"""Metadata, profile, reading, tags, state, and the owner of the thread."""

import msgspec
import pytest

from airy.model.fact import Fact
from airy.model.fold_conversation import TAGS_MAX
from airy.model.metadata import KEYS_MAX, PARTS_MAX
from airy.model.render import conversation_metadata
from tests.kit.builders import Chat
from tests.kit.fold import ReferenceFold, fold_all


def opened(chat: Chat, *facts: Fact) -> ReferenceFold:
    return fold_all([chat.received("a"), *facts])


def document(reference: ReferenceFold, chat: Chat) -> dict[str, object]:
    conversation = reference.conversation(chat.conversation_id)
    shown: dict[str, object] = msgspec.json.decode(msgspec.json.encode(conversation_metadata(conversation)))
    return shown


def state_version(reference: ReferenceFold, chat: Chat) -> int:
    conversation = reference.state(chat.conversation_id).conversation()
    assert conversation is not None
    return conversation.state_sequence


def kinds(reference: ReferenceFold, sequence: int) -> list[str]:
    return [change.kind.value for change in reference.changes if change.sequence == sequence]


# --- metadata


def test_metadata_are_set_and_removed_by_key() -> None:
    chat = Chat()
    reference = opened(
        chat, chat.metadata({"user_data.a.b": 1, "user_data.c": [2]}), chat.metadata({}, remove=("user_data.a",))
    )
    assert document(reference, chat)["user_data"] == {"c": [2]}
    assert kinds(reference, 2) == ["conversation.updated", "metadata.updated"]


def test_metadata_that_change_nothing_are_rejected() -> None:
    chat = Chat()
    reference = opened(chat, chat.metadata({"user_data.a": 1}))
    assert not reference.fold(chat.metadata({"user_data.a": 1})).accepted
    assert not reference.fold(chat.metadata({}, remove=("user_data.b",))).accepted


def test_metadata_of_a_message_make_an_update_and_a_metadata_change() -> None:
    chat = Chat()
    reference = opened(
        chat, chat.metadata({"suggestions.ack.content": {"text": "On it!"}}, message_id=chat.inbound_id("a"))
    )
    assert kinds(reference, 2) == ["message.updated", "metadata.updated", "conversation.updated"]
    payload = msgspec.json.decode(reference.changes[-2].body)["payload"]
    assert payload["subject"] == "message"
    assert payload["identifier"] == chat.inbound_id("a")
    assert payload["metadata"]["suggestions"] == {"ack": {"content": {"text": "On it!"}}}


@pytest.mark.parametrize("message_id", ["unknown", None])
def test_metadata_of_an_unknown_subject_are_rejected(message_id: str | None) -> None:
    chat = Chat()
    fact = chat.metadata({"user_data.a": 1}, message_id=message_id)
    if message_id is None:
        fact = msgspec.structs.replace(fact, subject_id="another conversation")
    assert not opened(chat).fold(fact).accepted


@pytest.mark.parametrize("key", ["unread_count", "tags.t", "state"])
def test_derived_conversation_metadata_cannot_be_set(key: str) -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.metadata({key: 7})).accepted


@pytest.mark.parametrize("key", ["error", "source", "source.id", "reaction.emoji", "user_read"])
def test_derived_message_metadata_cannot_be_set_or_removed(key: str) -> None:
    chat = Chat()
    reference = opened(chat, chat.queued("x"), chat.started("x"), chat.failed("x"))
    about = chat.outbound_id("x")
    assert not reference.fold(chat.metadata({key: 7}, message_id=about)).accepted
    assert not reference.fold(chat.metadata({}, remove=(key,), message_id=about)).accepted


def test_metadata_are_bounded() -> None:
    chat = Chat()
    reference = opened(chat)
    assert not reference.fold(chat.metadata({str(number): 1 for number in range(KEYS_MAX + 1)})).accepted
    assert not reference.fold(chat.metadata({".".join("a" * (PARTS_MAX + 1)): 1})).accepted
    assert not reference.fold(
        chat.metadata({str(number): 1 for number in range(KEYS_MAX + 1)}, message_id=chat.inbound_id("a"))
    ).accepted


# --- profile


def test_a_profile_names_the_contact() -> None:
    chat = Chat()
    reference = opened(chat, chat.profile("Ines Kuhn", "http://a/b"))
    assert document(reference, chat)["contact"] == {
        "display_name": "Ines Kuhn",
        "avatar_url": "http://a/b",
        "fetch_state": "ok",
    }


def test_a_missing_profile_is_recorded_as_failed() -> None:
    chat = Chat()
    reference = opened(chat, chat.profile(None, found=False))
    assert document(reference, chat)["contact"] == {"fetch_state": "failed"}


def test_a_profile_never_overwrites_a_value_a_client_set() -> None:
    chat = Chat()
    reference = opened(chat, chat.metadata({"contact.display_name": "Auntie"}), chat.profile("Ines Kuhn", "http://a/b"))
    assert document(reference, chat)["contact"]["display_name"] == "Auntie"  # type: ignore[index]
    assert document(reference, chat)["contact"]["avatar_url"] == "http://a/b"  # type: ignore[index]


def test_a_profile_refreshes_its_own_values_until_a_client_sets_them() -> None:
    chat = Chat()
    reference = opened(chat, chat.profile("Ines"), chat.refetch())
    assert "fetch_state" not in document(reference, chat)["contact"]  # type: ignore[operator]
    reference.fold_all(
        [chat.profile("Ines Kuhn"), chat.metadata({"contact.display_name": "Ines Kuhn"}), chat.refetch()]
    )
    reference.fold(chat.profile("I. K."))
    assert document(reference, chat)["contact"]["display_name"] == "Ines Kuhn"  # type: ignore[index]


def test_a_name_that_a_client_removed_comes_from_the_profile_again() -> None:
    chat = Chat()
    reference = opened(
        chat, chat.metadata({"contact.display_name": "A"}), chat.metadata({}, remove=("contact.display_name",))
    )
    reference.fold(chat.profile("Ines"))
    assert document(reference, chat)["contact"]["display_name"] == "Ines"  # type: ignore[index]


def test_refetching_a_profile_that_was_never_fetched_is_rejected() -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.refetch()).accepted


# --- reading


def test_reading_clears_the_count_and_marks_earlier_messages() -> None:
    chat = Chat()
    reference = opened(chat, chat.received("b"), chat.read())
    conversation = reference.conversation(chat.conversation_id)
    assert (conversation.unread_count, conversation.read_sequence) == (0, 3)
    assert kinds(reference, 3) == ["conversation.updated", "metadata.updated"]
    last = msgspec.json.decode(reference.changes[-2].body)["payload"]["last_message"]
    assert "user_read" in last["metadata"]


def test_reading_a_read_conversation_is_rejected() -> None:
    chat = Chat()
    assert not opened(chat, chat.read()).fold(chat.read()).accepted


def test_a_duplicate_read_has_no_effect() -> None:
    chat = Chat()
    reading = chat.read()
    reference = opened(chat, reading, chat.received("b"), reading)
    assert reference.conversation(chat.conversation_id).unread_count == 1


# --- tags and state


def test_a_tag_is_added_and_removed_once() -> None:
    chat = Chat()
    reference = opened(chat, chat.tag_added("t1"), chat.tag_added("t2"), chat.tag_added("t1"), chat.tag_removed("t2"))
    assert document(reference, chat)["tags"] == {"t1": ""}
    assert list(reference.accepted.values()) == [True, True, True, False, True]
    reference.fold(chat.tag_removed("t1"))
    assert "tags" not in document(reference, chat)
    assert not reference.fold(chat.tag_removed("t1")).accepted


def test_a_tag_added_again_after_it_was_removed_by_the_same_fact_stays_removed() -> None:
    chat = Chat()
    adding = chat.tag_added("t1")
    reference = opened(chat, adding, chat.tag_removed("t1"), adding)
    assert "tags" not in document(reference, chat)


def test_a_removal_before_its_tag_has_no_effect_later() -> None:
    chat = Chat()
    removing = chat.tag_removed("t1")
    reference = opened(chat, removing, chat.tag_added("t1"), removing)
    assert document(reference, chat)["tags"] == {"t1": ""}


def test_tags_are_bounded() -> None:
    chat = Chat()
    reference = opened(chat, *(chat.tag_added(str(number)) for number in range(TAGS_MAX)))
    assert not reference.fold(chat.tag_added("one more")).accepted


def test_any_text_is_a_state_and_none_removes_it() -> None:
    chat = Chat()
    reference = opened(chat, chat.state_changed("open"))
    assert document(reference, chat)["state"] == "open"
    assert not reference.fold(chat.state_changed("open")).accepted
    assert reference.fold(chat.state_changed(None)).accepted
    assert "state" not in document(reference, chat)


def test_a_state_that_was_read_before_another_one_is_rejected() -> None:
    chat = Chat()
    reference = opened(chat, chat.state_changed("OPEN", base=0))
    seen = state_version(reference, chat)
    assert not reference.fold(chat.state_changed("CLOSED", base=0)).accepted
    assert reference.fold(chat.received("a message does not change the version")).accepted
    assert reference.fold(chat.state_changed(None, base=seen)).accepted
    assert not reference.fold(chat.state_changed("CLOSED", base=seen)).accepted
    assert reference.fold(chat.state_changed("CLOSED")).accepted
    assert state_version(reference, chat) > seen


# --- other provider events


def test_a_referral_is_the_latest_one() -> None:
    chat = Chat()
    reference = opened(chat, chat.noted(referral="late", at_ms=20), chat.noted(referral="early", at_ms=10))
    assert document(reference, chat)["source"] == {"referral": "late"}


def test_of_two_referrals_at_one_time_the_last_in_the_log_is_kept() -> None:
    chat = Chat()
    notes = [chat.noted(referral=referral, at_ms=10) for referral in ("flyer", "ad")]
    for order in (notes, notes[::-1]):
        assert document(opened(chat, *order), chat)["source"] == {"referral": order[-1].referral}


def test_a_referral_that_a_client_removed_does_not_return() -> None:
    chat = Chat()
    note = chat.noted()
    reference = opened(chat, note, chat.metadata({}, remove=("source.referral",)), note)
    assert "source" not in document(reference, chat)


def test_an_event_without_referral_is_kept_in_the_log_only() -> None:
    chat = Chat()
    note = chat.noted("optin", referral=None)
    reference = opened(chat, note)
    assert not reference.accepted[note.id]
    assert note.id not in reference.state(chat.conversation_id).seen_facts


def test_the_owner_of_the_thread_is_the_latest_one() -> None:
    chat = Chat()
    reference = opened(chat, chat.handover("pass", "7", at_ms=20), chat.handover("pass", "8", at_ms=10))
    assert reference.conversation(chat.conversation_id).handover_owner == "7"
    assert reference.fold(chat.handover("take", None, at_ms=30)).accepted
    assert reference.conversation(chat.conversation_id).handover_owner is None


def test_of_two_owners_at_one_time_the_last_in_the_log_owns_the_thread() -> None:
    chat = Chat()
    handovers = [chat.handover("pass", owner, at_ms=20) for owner in ("7", None, "8")]
    for order in (handovers, handovers[::-1]):
        assert opened(chat, *order).conversation(chat.conversation_id).handover_owner == order[-1].owner


@pytest.mark.parametrize("action", ["request", "roles"])
def test_requesting_the_thread_does_not_change_its_owner(action: str) -> None:
    chat = Chat()
    assert not opened(chat).fold(chat.handover(action, "7")).accepted


@pytest.mark.parametrize("visible", [True, False])
def test_client_requests_for_an_unknown_conversation_are_rejected(visible: bool) -> None:
    """They are rejected, and their ids are stored as rejected."""
    chat = Chat()
    reference = ReferenceFold() if visible else fold_all([chat.reacted("a")])
    before = reference.state(chat.conversation_id).conversation()
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
    assert not any(reference.fold(fact).accepted for fact in facts)
    assert reference.state(chat.conversation_id).conversation() == before
    assert {fact.id for fact in facts} <= set(reference.state(chat.conversation_id).seen_facts)
