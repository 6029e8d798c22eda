"""How python-telegram-bot reads the recorded updates, and how we do: both have to agree."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import telegram

from airy.model.fact import Fact, MessageEchoed, MessageEdited, MessageReceived, ReactionChanged
from airy.sources import canonical, payload
from airy.sources.telegram.content import canonical_of
from tests.kit.contracts.source import Fixture, load, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.telegram import BOT

WIRE = WIRES["telegram"]
FIXTURES = {
    name: fixture
    for name, fixture in load(Path(__file__).parent / "fixtures").items()
    if fixture.payload is not None and fixture.facts and isinstance(fixture.payload.get("update_id"), int)
}
MEDIA = ("animation", "video", "video_note", "voice", "audio", "sticker", "document")


def read(update: dict[str, Any]) -> telegram.Update:
    return telegram.Update.de_json(update, None)


def file_of(message: telegram.Message) -> Any:
    """The attachment, the largest size of a picture."""
    if message.photo:
        return max(message.photo, key=lambda size: size.width * size.height)
    return next((found for name in MEDIA if (found := getattr(message, name)) is not None), None)


def routed(fixture: Fixture) -> Fact:
    source = WIRE.source()
    return source.route(raw_record(source, fixture.bytes, account=fixture.owner), WIRE.connected(BOT)).facts[0]


@pytest.mark.parametrize("name", list(FIXTURES))
def test_both_read_the_same(name: str) -> None:
    fixture = FIXTURES[name]
    assert fixture.payload is not None
    update, fact = read(fixture.payload), routed(fixture)
    if isinstance(fact, MessageReceived | MessageEchoed) and update.callback_query is None:
        message = update.effective_message
        assert message is not None
        if message.date <= datetime(2026, 1, 1, tzinfo=UTC):
            assert fact.at_ms == message.date.timestamp() * 1000
        if fact.provider_id is not None:
            assert fact.provider_id.split(":")[-2:] == [str(message.chat_id), str(message.message_id)]
        _same_content(message, canonical_of(payload.record(fixture.payload[_part(fixture.payload)])))
    elif isinstance(fact, MessageReceived):
        assert update.callback_query is not None
        assert fact.headers["postback.payload"] == update.callback_query.data
    elif isinstance(fact, MessageEdited):
        edited = update.edited_message or update.edited_business_message
        assert edited is not None and edited.edit_date is not None
        assert fact.at_ms == edited.edit_date.timestamp() * 1000
    elif isinstance(fact, ReactionChanged):
        assert update.message_reaction is not None
        emojis = [getattr(each, "emoji", None) for each in update.message_reaction.new_reaction]
        assert fact.emoji == (emojis[-1] if emojis else None)
    else:
        assert update.effective_message is None or fact.kind_at_source


def _part(update: dict[str, Any]) -> str:
    return next(name for name in update if name != "update_id")


def _same_content(message: telegram.Message, contents: canonical.Contents) -> None:
    first = contents[0]
    file = file_of(message)
    assert isinstance(first, canonical.MediaContent) == (file is not None)
    if isinstance(first, canonical.MediaContent):
        assert (first.media_id, first.size, first.caption) == (file.file_id, file.file_size, message.caption)
        assert first.mime == getattr(file, "mime_type", None)
        assert first.filename == getattr(file, "file_name", None)
    if isinstance(first, canonical.TextContent):
        assert first.text == (message.text or "").replace("\0", "")
    spots = [each for each in contents if isinstance(each, canonical.LocationContent)]
    location = message.venue.location if message.venue else message.location
    assert [(each.latitude, each.longitude) for each in spots] == (
        [(location.latitude, location.longitude)] if location else []
    )
    people = [each for each in contents if isinstance(each, canonical.ContactsContent)]
    phones = [person.phones for each in people for person in each.contacts]
    assert phones == ([(message.contact.phone_number,)] if message.contact else [])
