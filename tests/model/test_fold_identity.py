"""Names of a participant: aliases only grow, and the latest name is answered to."""

from airy.model.fold_identity import ALIASES_MAX
from tests.kit.builders import START_MS, Chat
from tests.kit.fold import fold_all


def test_other_names_become_aliases_and_the_conversation_stays() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.identified("DE.1", at_ms=START_MS)])
    assert reference.conversation(chat.conversation_id).aliases == {"DE.1": START_MS}
    assert reference.conversation(chat.conversation_id).participant_id == chat.participant_id
    assert not reference.fold(chat.identified("DE.1", chat.participant_id)).accepted


def test_the_name_that_changed_last_is_answered_to() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.identified("new", participant_id="new", at_ms=START_MS + 2)])
    assert not reference.fold(chat.identified(participant_id="old", at_ms=START_MS + 1)).accepted
    assert reference.conversation(chat.conversation_id).participant_id == "new"


def test_a_message_after_a_change_does_not_take_the_name_back() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.identified("new", participant_id="new"), chat.received("b")])
    assert reference.conversation(chat.conversation_id).participant_id == "new"


def test_a_name_may_be_known_before_the_first_message() -> None:
    chat = Chat()
    reference = fold_all([chat.identified("DE.1"), chat.received("a")])
    conversation = reference.conversation(chat.conversation_id)
    assert (list(conversation.aliases), conversation.participant_id) == (["DE.1"], chat.participant_id)
    assert conversation.visible


def test_the_oldest_alias_of_too_many_is_dropped() -> None:
    chat = Chat()
    names = [f"n{number}" for number in range(ALIASES_MAX + 1)]
    reference = fold_all([chat.received("a"), *(chat.identified(name) for name in names)])
    assert list(reference.conversation(chat.conversation_id).aliases) == names[1:]


def test_another_conversation_of_the_contact_is_named_in_the_metadata() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a")])
    folded = reference.fold(chat.identified(same_contact="c"))
    assert [change.kind.value for change in folded.changes] == ["conversation.updated", "metadata.updated"]
    assert not reference.fold(chat.identified(same_contact="c")).accepted
