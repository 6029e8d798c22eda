"""The declared needs of a fact are all that its fold looks up."""

import pytest
from hypothesis import given

from airy.model.fact import Fact
from airy.model.fold import RULES, fold
from airy.model.fold_needs import NEEDS
from tests.kit.builders import Chat
from tests.kit.fact_strategies import logs
from tests.kit.fold import DictState
from tests.kit.loaded_state import LoadedState


def check(log: list[Fact]) -> None:
    whole, stored = DictState(), DictState()
    for fact in log:
        assert fold(LoadedState(stored, fact), fact) == fold(whole, fact)
        assert stored.snapshot() == whole.snapshot()


@given(logs)
def test_a_fold_with_only_its_needs_loaded_is_the_fold(log: list[Fact]) -> None:
    check(log)


def settled(chat: Chat) -> list[Fact]:
    """What may bind the provider's id to a message whose copy an echo has created."""
    return [chat.succeeded("x", provider="x"), chat.echoed("x", ours="x")]


@pytest.mark.parametrize("nth", [0, 1])
def test_a_copy_that_is_deleted_when_its_original_is_found_needs_the_message_before(nth: int) -> None:
    chat = Chat()
    before = [chat.received("a"), chat.queued("x"), chat.started("x"), chat.received("b"), chat.echoed("x")]
    check([*before, settled(chat)[nth]])


def test_every_rule_has_needs() -> None:
    assert NEEDS.keys() == RULES.keys()
