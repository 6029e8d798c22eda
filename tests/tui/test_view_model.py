"""The view model: any text becomes one safe line, any content a summary."""

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from airy.tui.view_model import ConversationRow, MessageRow, ViewModel, changed_messages, clean, message_row, summary


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"text": "hello"}, "hello"),
        ({"sender": {"id": "1"}, "message": {"mid": "m", "text": "hello"}}, "hello"),
        ({"postback": {"title": "Get started", "payload": "GO"}}, "Get started"),
        ({"message": {"attachments": [{"type": "image"}, {"type": "file"}]}}, "[image, file]"),
        ({"attachment": {"type": "template", "payload": {}}}, "[template]"),
        ({"message": {"mid": "m", "sticker_id": 3}}, "[mid, sticker_id]"),
        ("plain words", "plain words"),
        ([1, 2], "[1, 2]"),
        ({"message": {"text": 5}}, "[text]"),
        ({}, "[]"),
    ],
)
def test_any_content_has_a_summary(content: object, shown: str) -> None:
    assert summary(Raw(msgspec.json.encode(content))) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a[2Jb"),  # clears a terminal
        ("a\x1b]0;title\x07b", "a]0;titleb"),  # sets its title
        ("a\r\nb\tc", "a b c"),
        ("a\x9b31mb", "a31mb"),  # the one-byte escape
        ("a\u202eb", "ab"),  # changes the direction of text
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_control_characters_are_removed(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_clean_text_is_one_line_of_printable_characters(text: str) -> None:
    shown = clean(text)

    assert all(unicodedata.category(char)[0] != "C" or char == "\u200d" for char in shown)
    assert "\n" not in shown


def test_long_text_is_truncated() -> None:
    assert clean("x" * 1000, 10) == "x" * 10 + "…"


def line(message_id: str, state: str, at: str = "10:00:00") -> MessageRow:
    return MessageRow(message_id, inbound=state == "", text=message_id, state=state, at=at)


def test_changed_messages_are_new_ones_and_new_states_in_reading_order() -> None:
    lines = (line("m1", "read"), line("m2", "", "09:00:00"), line("m3", "sent"))
    conversation = ConversationRow("c", "Ada", "facebook", 0, "10:00:00", lines)

    found = changed_messages({"m1": "sent", "m3": "sent"}, ViewModel((conversation,)))

    assert [each.id for _, each in found] == ["m2", "m1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "text", "text": "Yes"}, "Yes"),
        ({"type": "media", "kind": "image", "caption": "the cake"}, "[image] the cake"),
        ({"type": "media", "kind": "voice"}, "[voice]"),
        ({"type": "location", "latitude": 1, "longitude": 2, "name": "Bakery"}, "[location] Bakery"),
        ({"type": "choice", "text": "When?", "options": [{"title": "Now"}, {"title": "Later"}]}, "When? [Now | Later]"),
        ({"type": "contacts", "contacts": [{"name": "Ines Kuhn"}]}, "[contacts] Ines Kuhn"),
        ({"type": "postback", "title": "Order", "payload": "ORDER"}, "[postback] Order"),
        ({"type": "template", "name": "order_ready"}, "[template] order_ready"),
    ],
)
def test_canonical_content_has_words_inbound_and_outbound(content: dict[str, object], words: str) -> None:
    inbound = {"id": "m", "content": {"odd": 1}, "canonical": [content], "from_contact": True}
    outbound = {"id": "m", "content": {"canonical": content}, "from_contact": False}

    assert message_row(Raw(msgspec.json.encode(inbound))).text == words
    assert message_row(Raw(msgspec.json.encode(outbound))).text == words
