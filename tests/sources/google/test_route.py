"""What events of Business Messages do to a conversation."""

from pathlib import Path

from airy.model.fact import MessageReceived, ProfileResolved, StateChanged
from tests.kit.contracts.source import load, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.google import AGENT

WIRE = WIRES["google"]
FIXTURES = load(Path(__file__).parent / "fixtures")


def facts(name: str) -> list[object]:
    record = raw_record(WIRE.source(), FIXTURES[name].bytes, account=AGENT)
    return list(WIRE.source().route(record, WIRE.connected(AGENT)).facts)


def test_go_1_f6_a_text_is_a_message_typing_is_nothing_and_asking_for_a_person_opens_the_conversation() -> None:
    assert [type(fact) for fact in facts("text")] == [MessageReceived, ProfileResolved]
    assert facts("typing") == []

    message, profile, state = facts("live_agent")
    assert isinstance(message, MessageReceived)
    assert isinstance(profile, ProfileResolved)
    assert isinstance(state, StateChanged)
    assert (profile.display_name, state.state) == ("Ines Kuhn", "OPEN")


def test_a_message_that_comes_again_in_another_request_is_the_same_message() -> None:
    first, again = facts("text")[0], facts("text_again")[0]
    assert isinstance(first, MessageReceived)
    assert isinstance(again, MessageReceived)
    assert (first.id, first.message_id) == (again.id, again.message_id)
