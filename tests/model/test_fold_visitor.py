"""Resume tokens of a visitor: each use replaces the token, and a revocation ends all of a family."""

import pytest

from airy.model.fact import Fact
from tests.kit.builders import Chat
from tests.kit.fold import ReferenceFold, fold_all


def state(reference: ReferenceFold, chat: Chat) -> tuple[int, int]:
    conversation = reference.conversation(chat.conversation_id)
    return conversation.resume_family, conversation.resume_generation


def test_each_use_replaces_the_token_and_a_second_use_of_it_changes_nothing() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.resumed(0), chat.resumed(1, at_ms=77)])

    assert state(reference, chat) == (0, 2)
    assert reference.conversation(chat.conversation_id).resumed_at_ms == 77
    assert not reference.fold(chat.resumed(1)).accepted
    assert not reference.fold(chat.resumed(3)).accepted


def test_a_revocation_ends_the_tokens_of_the_family_once() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a"), chat.resumed(0), chat.revoked(0)])

    assert state(reference, chat) == (1, 0)
    assert [reference.fold(fact).accepted for fact in (chat.resumed(1), chat.revoked(0))] == [False, False]
    assert reference.fold(chat.resumed(0, family=1)).accepted


@pytest.mark.parametrize("fact", [Chat().resumed(), Chat().revoked()])
def test_a_conversation_without_messages_keeps_no_token_state(fact: Fact) -> None:
    assert not fold_all([]).fold(fact).accepted


def test_subscribers_see_nothing_of_tokens() -> None:
    chat = Chat()
    reference = fold_all([chat.received("a")])
    told = len(reference.changes)
    reference.fold(chat.resumed(0))
    reference.fold(chat.revoked(0))

    assert len(reference.changes) == told


@pytest.mark.parametrize("repeated", ["resumed", "revoked"])
def test_a_fact_that_was_too_early_has_no_effect_when_it_is_repeated(repeated: str) -> None:
    """A duplicate in the log is folded as the first one was, whatever has happened in between."""
    chat = Chat()
    fact, message = getattr(chat, repeated)(), chat.received("x")
    once, twice = fold_all([fact, message]), fold_all([fact, message, fact])
    assert not once.accepted[fact.id]
    assert twice.digest() == once.digest()
