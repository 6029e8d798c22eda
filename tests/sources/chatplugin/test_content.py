"""Contents of the chat plugin and canonical content, both ways."""

from typing import Any

import msgspec
import pytest

from airy.errors import Refused
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.sources.api import Failed, Target
from airy.sources.chatplugin.content import canonical_of, widget_content
from airy.sources.chatplugin.source import ChatPlugin
from airy.sources.chatplugin.spec import ChatPluginSection
from tests.kit.builders import raw

SOURCE = ChatPlugin(ChatPluginSection())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "Is the rye bread back?"}, [{"type": "text", "text": "Is the rye bread back?"}]),
        ("just text", [{"type": "text", "text": "just text"}]),
        ({"text": "Yes", "postbackData": "y"}, [{"type": "postback", "title": "Yes", "payload": "y"}]),
        (
            {"attachment": {"type": "image", "payload": {"url": "https://m.example/a.png"}}},
            [{"type": "media", "kind": "image", "url": "https://m.example/a.png"}],
        ),
        (
            {"text": "look", "attachment": {"type": "file", "payload": {"url": "https://m.example/a.pdf"}}},
            [{"type": "text", "text": "look"}, {"type": "media", "kind": "file", "url": "https://m.example/a.pdf"}],
        ),
        ({"attachment": {"type": "widget", "payload": 3}}, [{"type": "raw", "kind": "message"}]),
        ({"text": 3}, [{"type": "raw", "kind": "message"}]),
        ([], [{"type": "raw", "kind": "message"}]),
        ("", [{"type": "raw", "kind": "message"}]),
    ],
)
def test_what_a_visitor_writes_has_a_canonical_content(content: object, said: list[Any]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(canonical_of(content))) == said


CARD = {"title": "Rye", "subtitle": "750 g", "image": "https://m.example/r.png", "buttons": [{"title": "Buy"}]}
CARD_CONTENT = {
    "title": "Rye",
    "description": "750 g",
    "media": {"height": "MEDIUM", "contentInfo": {"fileUrl": "https://m.example/r.png", "altText": "Rye"}},
    "suggestions": [{"reply": {"text": "Buy", "postbackData": "Buy"}}],
}


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"type": "text", "text": "Yes."}, {"text": "Yes."}),
        (
            {"type": "media", "kind": "voice", "url": "https://m.example/a.ogg"},
            {"attachment": {"type": "audio", "payload": {"url": "https://m.example/a.ogg"}}},
        ),
        (
            {"type": "choice", "text": "Which?", "options": [{"title": "Rye", "payload": "r"}, {"title": "Oat"}]},
            {
                "text": "Which?",
                "quick_replies": [
                    {"content_type": "text", "title": "Rye", "payload": "r"},
                    {"content_type": "text", "title": "Oat", "payload": "Oat"},
                ],
            },
        ),
        (
            {"type": "card", **CARD},
            {"fallback": "Rye", "richCard": {"standaloneCard": {"cardContent": CARD_CONTENT}}},
        ),
        (
            {"type": "carousel", "cards": [CARD, {"title": "Oat", "url": "https://s.example/oat"}]},
            {
                "fallback": "Rye, Oat",
                "richCard": {
                    "carouselCard": {
                        "cardContents": [
                            CARD_CONTENT,
                            {
                                "title": "Oat",
                                "suggestions": [
                                    {
                                        "action": {
                                            "text": "Oat",
                                            "postbackData": "https://s.example/oat",
                                            "openUrlAction": {"url": "https://s.example/oat"},
                                        }
                                    }
                                ],
                            },
                        ]
                    }
                },
            },
        ),
    ],
)
def test_canonical_content_is_shown_in_the_widgets_shape(wanted: dict[str, Any], shown: dict[str, Any]) -> None:
    assert widget_content({"canonical": wanted}) == shown


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "location", "latitude": 52.5, "longitude": 13.4},
        {"type": "media", "kind": "image", "media_id": "7"},
        {"type": "choice", "text": "Which?", "options": [{"title": "Call", "payload": "+49", "kind": "call"}]},
    ],
)
def test_canonical_content_that_the_widget_cannot_show_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="chatplugin cannot send"):
        widget_content({"canonical": wanted})


def _target(participant: str | None) -> tuple[Message, Target]:
    message = Message(
        id="m",
        conversation_id="c",
        channel_id="ch",
        source="chatplugin",
        sequence=2,
        content=raw({"text": "Yes."}),
        from_contact=False,
        sender_id="agent",
        sent_at_ms=1,
        updated_at_ms=1,
        delivery=DeliveryState.PENDING,
    )
    conversation = Conversation(
        id="c", channel_id="ch", source="chatplugin", participant_id=participant, created_at_ms=1, updated_at_ms=1
    )
    channel = Channel(id="ch", source="chatplugin", source_channel_id="shop", connected=True)
    return message, Target(channel=channel, conversation=conversation)


def test_a_message_needs_no_call() -> None:
    message, target = _target("c")

    assert SOURCE.encode(message, target, 0) == ()


@pytest.mark.parametrize("participant", [None, "another"])
def test_a_message_to_no_visitor_fails(participant: str | None) -> None:
    message, target = _target(participant)

    outcome = SOURCE.encode(message, target, 0)
    assert isinstance(outcome, Failed)
    assert outcome.kind == "not_found"
