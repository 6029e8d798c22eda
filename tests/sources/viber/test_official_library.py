"""Viber's own library agrees with us: about signatures, about what callbacks say, and about messages of ours."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from viberbot import Api, BotConfiguration
from viberbot.api.messages import get_message

from airy.model.fact import EventNoted, MessageReceived, ReceiptReported
from airy.secret import Secret
from airy.sources.api import Failed, Target
from airy.sources.viber.verify import signature
from tests.kit.contracts.source import SAMPLES, Fixture, conversation, load, outbound, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.viber import BOT, CONTACT, TOKEN

WIRE = WIRES["viber"]
LIBRARY = Api(BotConfiguration(name="Bakery", avatar="https://img.example.org/b.png", auth_token=TOKEN))
FIXTURES = load(Path(__file__).parent / "fixtures")
UNREAD = {  # what its readers refuse, or leave as it is where we repair
    "surrogate",
    "contact_number",  # a number where it wants text
    "location_text",
    "message_is_text",
    "no_message",
    "no_sender",
    "no_time",
    "no_token",
    "no_event",
    "client_status",
    "unknown_event",
    "receipt_without_token",
    "failed_silent",
    "not_json",
    "deep",
    "unknown_bot",
}
READ = sorted(FIXTURES.keys() - UNREAD)


@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=list(FIXTURES))
def test_signatures_agree(fixture: Fixture) -> None:
    ours = signature(Secret(TOKEN), fixture.bytes).decode()
    assert LIBRARY.verify_signature(fixture.bytes, ours)
    assert not LIBRARY.verify_signature(fixture.bytes + b" ", ours)


@pytest.mark.parametrize("name", READ)
def test_what_a_callback_says_agrees(name: str) -> None:
    fixture = FIXTURES[name]
    theirs: Any = LIBRARY.parse_request(fixture.bytes)
    facts = WIRE.source().route(raw_record(WIRE.source(), fixture.bytes, account=BOT), WIRE.connected(BOT)).facts
    if theirs.event_type == "webhook":
        assert facts == []
        return
    fact = facts[0]
    user = getattr(theirs, "user_id", None) or (getattr(theirs, "sender", None) or theirs.user).id
    assert user == CONTACT
    match fact:
        case MessageReceived():
            assert fact.participant_id == user
            assert fact.provider_id == str(theirs.message_token)
            if theirs.event_type == "message":
                _agree(theirs.message, msgspec.json.decode(fact.canonical)[0])
        case ReceiptReported():
            assert fact.provider_ids == (str(theirs.message_token),)
            assert fact.error == getattr(theirs, "desc", "")
        case EventNoted():
            assert theirs.event_type in {"subscribed", "unsubscribed"}
        case _:
            pytest.fail(f"{type(fact)} is of no callback")


def _agree(theirs: Any, ours: dict[str, Any]) -> None:
    if ours["type"] == "text":
        assert ours["text"] == (theirs.text if hasattr(theirs, "text") else theirs.media).replace("\0", "")
    elif ours["type"] == "postback":
        assert ours["payload"] == theirs.text
    elif ours["type"] == "location":
        assert (ours["latitude"], ours["longitude"]) == (theirs.location.latitude, theirs.location.longitude)
    elif ours["type"] == "contacts":
        assert ours["contacts"] == [{"name": theirs.contact.name, "phones": [theirs.contact.phone_number]}]
    elif ours["type"] == "media" and ours["kind"] == "sticker":
        assert ours["media_id"] == str(theirs.sticker_id)
    elif ours["type"] == "media":
        assert ours["url"] == theirs.media
        assert ours.get("size") == getattr(theirs, "size", ours.get("size"))


@pytest.mark.parametrize("name", WIRE.spec.kinds[0].capabilities.sends)
def test_every_canonical_content_is_a_valid_message_of_the_library(name: str) -> None:
    target = Target(
        channel=WIRE.channel(BOT),
        conversation=conversation(participant_id=CONTACT),
        credentials=WIRE.credentials("viber"),
    )
    calls = WIRE.source().encode(outbound({"canonical": SAMPLES[name]}), target, 0)
    assert not isinstance(calls, Failed)
    body = msgspec.json.decode(calls[0].body or b"")
    message = get_message(body)
    assert message.validate()
    sent = {field: part for field, part in body.items() if field not in {"receiver", "sender"}}
    assert _stated(message.to_dict()) == _stated(sent)


def _stated(document: dict[str, Any]) -> dict[str, Any]:
    """Without members that say nothing."""
    return {name: _stated(part) if isinstance(part, dict) else part for name, part in document.items() if part}
