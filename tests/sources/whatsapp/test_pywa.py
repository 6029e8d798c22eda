"""pywa, the best-known library for the Cloud API, reads the same from our recorded payloads.

It reads webhooks of 2026 alone, in which each contact has a user id, and one message of each; so ids are added where a
recorded payload has none, and both read the result.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pywa import WhatsApp
from pywa.types import CallbackButton, Message, MessageStatus
from pywa.types.message import EditedMessage

from airy.model.fact import MessageEdited, MessageReceived, ReactionChanged, ReceiptReported
from airy.sources import canonical
from airy.sources.canonical import Contents, LocationContent, MediaContent, PostbackContent, TextContent
from tests.kit.contracts.source import load, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.whatsapp import NUMBER_ID

WIRE = WIRES["whatsapp"]
CLIENT = WhatsApp(phone_id=NUMBER_ID, token="unused")
ADDED = "DE.1000000000000001"
PAYLOADS = {name: fixture.payload for name, fixture in load(Path(__file__).parent / "fixtures").items()}


def values(name: str) -> Iterator[dict[str, Any]]:
    """The values of the changes of messages."""
    payload = PAYLOADS[name]
    for entry in payload.get("entry", []) if isinstance(payload, dict) else []:  # type: ignore[attr-defined]
        for change in entry.get("changes", []) if isinstance(entry, dict) else []:
            value = change.get("value") if isinstance(change, dict) else None
            if isinstance(value, dict) and change["field"] == "messages" and "metadata" in value:
                yield deepcopy(value)


def alone(value: Mapping[str, Any], name: str, index: int) -> dict[str, Any]:
    """An update with one element of a list, its contact beside it."""
    element = value[name][index]
    contacts = value.get("contacts") or [{"profile": {"name": "Ines"}, "wa_id": element.get("recipient_id")}]
    sender = element.get("from") or element.get("recipient_id")
    contact = next((each for each in contacts if each.get("wa_id") == sender), contacts[0])
    contact.setdefault("user_id", ADDED)
    rest = {key: part for key, part in value.items() if key not in {"messages", "statuses"}}
    change = {"field": "messages", "value": {**rest, "contacts": [contact], name: [element]}}
    entry = {"id": "700100200300", "changes": [change]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


KINDS = {"text", "image", "video", "audio", "document", "sticker", "location", "reaction", "contacts"}
STRANGE = {
    "sample_of_the_test_button",
    "batch_with_bad_elements",
    "media_without_id",
    "impossible_time",
    "unknown_number",
}
MESSAGES = [
    pytest.param(alone(value, "messages", index), id=f"{name}-{index}")
    for name in PAYLOADS
    if name not in STRANGE
    for value in values(name)
    for index, message in enumerate(value.get("messages", []))
    if message.get("type") in KINDS
]
EDITS = [pytest.param(alone(value, "messages", 0), id="edit") for value in values("edit")]
STATUSES = [
    pytest.param(alone(value, "statuses", 0), id=name)
    for name in ("sent", "delivered", "read", "failed")
    for value in values(name)
]


def facts_of(update: Mapping[str, Any]) -> list[Any]:
    record = raw_record(WIRE.source(), json.dumps(update).encode())
    return list(WIRE.source().route(record, WIRE.connected(NUMBER_ID)).facts)


def first(update: Mapping[str, Any], kind: type) -> Any:
    return next(fact for fact in facts_of(update) if isinstance(fact, kind))


def contents(fact: Any) -> Contents:
    return msgspec.json.decode(fact.canonical, type=canonical.Contents)


@pytest.mark.parametrize("update", MESSAGES)
def test_both_read_the_same_message(update: dict[str, Any]) -> None:
    theirs = Message.from_update(CLIENT, update)
    assert theirs.from_user is not None
    names = {theirs.from_user.wa_id, theirs.from_user.bsuid}
    if theirs.reaction is not None:
        ours = first(update, ReactionChanged)
        assert (ours.provider_id, ours.emoji or "") == (theirs.reaction.message_id, theirs.reaction.emoji or "")
        assert ours.actor in names
        return
    ours = first(update, MessageReceived)
    assert ours.provider_id == theirs.id
    assert (ours.sender_id or ours.participant_id) in names
    assert ours.at_ms == round(theirs.timestamp.timestamp() * 1000)
    assert ours.reply_to == (theirs.reply_to_message.id if theirs.reply_to_message else None)
    assert ("message.forwarded" in ours.headers) is theirs.forwarded
    said = contents(ours)[0]
    match said:
        case TextContent(text=text):
            assert text == theirs.text
        case MediaContent():
            assert theirs.media is not None
            assert (said.media_id, said.mime, said.caption) == (theirs.media.id, theirs.media.mime_type, theirs.caption)
        case LocationContent():
            assert theirs.location is not None
            assert (said.latitude, said.longitude) == (theirs.location.latitude, theirs.location.longitude)


@pytest.mark.parametrize("update", EDITS)
def test_both_read_the_same_edit(update: dict[str, Any]) -> None:
    theirs, ours = EditedMessage.from_update(CLIENT, update), first(update, MessageEdited)
    assert ours.provider_id == theirs.original_message_id
    assert contents(ours) == (TextContent(text=theirs.message.text or ""),)


@pytest.mark.parametrize("update", STATUSES)
def test_both_read_the_same_status(update: dict[str, Any]) -> None:
    theirs, ours = MessageStatus.from_update(CLIENT, update), first(update, ReceiptReported)
    assert (ours.provider_ids, str(ours.state)) == ((theirs.id,), theirs.status.value)
    assert ours.error_code == (str(theirs.error.code) if theirs.error else "")


def test_both_read_the_same_tap() -> None:
    update = alone(next(values("button_reply")), "messages", 0)
    theirs = CallbackButton.from_update(CLIENT, update)
    assert contents(first(update, MessageReceived)) == (PostbackContent(title=theirs.title, payload=theirs.data),)
