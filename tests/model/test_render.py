"""The model rendered as API documents."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from airy.model import render
from airy.model.conversation import Conversation, Message, Reaction
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel, User
from tests.kit.builders import Chat, channel, raw, tag, template, webhook
from tests.kit.fold import fold_all

CONVERSATION = "5c6d0000-0000-5000-8000-0000000a4f2b1"[:36]


def decoded(document: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(document))


def message(**changes: object) -> Message:
    fields: dict[str, object] = {
        "id": "0d1c2b3a-4f5e-4a6b-8c7d-9e0f1a2b3c4d",
        "conversation_id": CONVERSATION,
        "channel_id": "b0f6",
        "source": "chatplugin",
        "sequence": 3,
        "content": raw({"text": "Is the blue one in stock?"}),
        "from_contact": True,
        "sender_id": "7f2e",
        "sent_at_ms": 1_709_622_489_120,
        "updated_at_ms": 0,
        "delivery": DeliveryState.DELIVERED,
    }
    return Message(**(fields | changes))  # type: ignore[arg-type]


def conversation(**changes: object) -> Conversation:
    fields: dict[str, object] = {
        "id": CONVERSATION,
        "channel_id": "b0f6",
        "source": "chatplugin",
        "created_at_ms": 1_709_622_000_000,
        "updated_at_ms": 0,
        "message_count": 1,
    }
    return Conversation(**(fields | changes))  # type: ignore[arg-type]


def test_a_time_has_three_fractional_digits_and_a_z() -> None:
    assert render.timestamp(1_709_622_489_120) == "2024-03-05T07:08:09.120Z"
    assert render.timestamp(0) == "1970-01-01T00:00:00.000Z"


@given(st.integers(0, render.LAST_MS))
def test_every_time_agrees_with_the_calendar(at_ms: int) -> None:
    whole = datetime.fromtimestamp(at_ms // 1000, UTC)
    assert render.timestamp(at_ms) == f"{whole.year:04}-{whole:%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


@pytest.mark.parametrize(("at_ms", "shown"), [(-1, "1970-01-01T00:00:00.000Z"), (10**30, "9999-12-31T23:59:59.999Z")])
def test_a_time_out_of_range_is_clamped(at_ms: int, shown: str) -> None:
    assert render.timestamp(at_ms) == shown


def test_a_message_has_exactly_the_keys_of_the_api() -> None:
    assert decoded(render.render_message(message())) == {
        "id": "0d1c2b3a-4f5e-4a6b-8c7d-9e0f1a2b3c4d",
        "content": {"text": "Is the blue one in stock?"},
        "sent_at": "2024-03-05T07:08:09.120Z",
        "delivery_state": "delivered",
        "from_contact": True,
        "source": "chatplugin",
        "metadata": {},
        "sender": {"id": "7f2e", "name": None, "avatar_url": None},
    }


def test_a_sender_that_is_a_user_has_a_name() -> None:
    sender = decoded(render.render_message(message(), user=User(id="7f2e", name="Ines", avatar_url="http://a/b")))
    assert sender["sender"] == {"id": "7f2e", "name": "Ines", "avatar_url": "http://a/b"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"[1]", [1]),
        (b'"text"', "text"),
        (b"5", 5),
        (b"null", None),
        (b"true", True),
        (b"From=%2B49&Body=hi", "From=%2B49&Body=hi"),
        (b"true story", "true story"),
        (b"", ""),
        (b"\xff", "\ufffd"),
    ],
)
def test_content_that_is_not_json_is_one_string(content: bytes, shown: object) -> None:
    assert decoded(render.content(Raw(content))) == shown


@pytest.mark.parametrize(
    ("state", "word", "fine"),
    [
        (DeliveryState.PENDING, "pending", None),
        (DeliveryState.SENDING, "pending", None),
        (DeliveryState.UNKNOWN, "pending", "unknown"),
        (DeliveryState.SENT, "delivered", "sent"),
        (DeliveryState.DELIVERED, "delivered", "delivered"),
        (DeliveryState.READ, "delivered", "read"),
        (DeliveryState.FAILED, "failed", "failed"),
    ],
)
def test_the_detailed_state_is_metadata(state: DeliveryState, word: str, fine: str | None) -> None:
    shown = render.render_message(message(from_contact=False, delivery=state))
    assert shown["delivery_state"] == word
    assert shown["metadata"] == ({"source": {"delivery_state": fine}} if fine else {})


def test_message_metadata_has_the_set_and_the_derived_keys() -> None:
    full = message(
        provider_id="m_1",
        reply_to="m_0",
        standby=True,
        metadata={"user_data.n": raw(2), "source": raw("odd")},
        reactions={"1": Reaction("👍", 5), "2": Reaction("❤️", 7), "3": Reaction(None, 9)},
    )
    assert decoded(render.message_metadata(full, read_sequence=3)) == {
        "user_data": {"n": 2},
        "source": {"id": "m_1", "reply_to": "m_0", "standby": True},
        "user_read": 1_709_622_489_120,
        "reaction": {"emoji": "❤️", "sent_at": "7"},
    }


def test_only_inbound_messages_are_read_by_a_user() -> None:
    assert "user_read" not in render.message_metadata(message(sequence=4), read_sequence=3)
    assert "user_read" in render.message_metadata(message(sequence=3), read_sequence=3)
    assert "user_read" not in render.message_metadata(message(sequence=3, from_contact=False), read_sequence=3)


@pytest.mark.parametrize(
    ("source", "word"), [("twilio.sms", "Sms"), ("twilio.whatsapp", "Whatsapp"), ("chatplugin", "Chatplugin"), ("", "")]
)
def test_the_default_contact_name_derives_from_the_source(source: str, word: str) -> None:
    assert render.default_contact_name(conversation(source=source)) == f"{word} {CONVERSATION[31:]}"


def test_a_conversation_has_exactly_the_keys_of_the_api() -> None:
    shop = Channel(
        id="b0f6", source="chatplugin", source_channel_id="shop", connected=True, metadata={"name": raw("shop")}
    )
    tagged = conversation(
        tags=["2f3e", "1a"],
        state="OPEN",
        unread_count=2,
        metadata={"contact.display_name": raw("Ines"), "user_data.x": raw(1)},
        state_sequence=5,
    )
    shown = decoded(render.render_conversation(tagged, shop, message()))
    assert shown == {
        "id": CONVERSATION,
        "created_at": "2024-03-05T07:00:00.000Z",
        "state_version": 5,
        "channel": {
            "id": "b0f6",
            "source": "chatplugin",
            "source_channel_id": "shop",
            "connected": True,
            "metadata": {"name": "shop"},
        },
        "metadata": {
            "contact": {"display_name": "Ines"},
            "tags": {"2f3e": "", "1a": ""},
            "state": "OPEN",
            "unread_count": 2,
            "user_data": {"x": 1},
        },
        "last_message": decoded(render.render_message(message())),
    }


def test_an_untagged_conversation_has_no_tags_and_always_a_count() -> None:
    shown = decoded(render.render_conversation(conversation(), channel(), None))
    assert (
        shown["metadata"]
        == {  # type: ignore[index]
            "contact": {"display_name": f"Chatplugin {CONVERSATION[31:]}"},
            "unread_count": 0,
        }
    )
    assert shown["last_message"] is None  # type: ignore[index]


def test_an_empty_name_stays_empty() -> None:
    shown = render.render_conversation(conversation(metadata={"contact.display_name": raw("")}), channel(), None)
    assert decoded(shown)["metadata"]["contact"] == {"display_name": ""}  # type: ignore[index]


def test_the_default_channel_name_derives_from_its_id() -> None:
    bare = Channel(id="6f973ffe-278a-5633-ab33-c1b7e8e83f1d", source="facebook", source_channel_id="1", connected=True)
    assert render.render_channel(bare)["metadata"] == {"name": "facebook 83f1d"}


def test_no_secret_of_a_channel_is_rendered() -> None:
    odd: dict[str, object] = {"token.inner": "clear", "user_data.token": "mine"}
    page = channel("facebook", "1", connected=True, page_token="clear", page_id="204918377001", **odd)
    text = msgspec.json.encode(render.render_channel(page))
    assert b"clear" not in text
    assert b"sealed" not in text
    assert decoded(render.render_channel(page))["metadata"] == {  # type: ignore[index]
        "name": "Corner Bakery",
        "page_id": "204918377001",
        "user_data": {"token": "mine"},
    }


def test_tags_templates_and_webhooks_have_exactly_the_keys_of_the_api() -> None:
    hook = webhook(events=("message.created",), signature_key="sealed-key", headers="sealed-headers", name="crm")
    shown = render.render_webhook(hook, {"X-Team": "bakery"})
    assert render.render_tag(tag()) == {"id": tag().id, "name": "Urgent", "color": "tag-red"}
    assert decoded(render.render_template(template())) == {
        "id": template().id,
        "name": "Hello",
        "source": "facebook",
        "content": {"text": "Hello [[name]]!"},
    }
    assert shown == {
        "id": hook.id,
        "name": "crm",
        "status": "Subscribed",
        "url": hook.url,
        "headers": {"X-Team": "bakery"},
        "events": ["message.created"],
    }
    assert b"sealed" not in msgspec.json.encode(shown)


def test_a_message_is_rendered_as_read_once_its_conversation_is() -> None:
    chat = Chat()
    reference = fold_all([chat.received(1), chat.read()])
    last = reference.message(chat.conversation_id, chat.inbound_id(1))
    shown = decoded(render.render_conversation(reference.conversation(chat.conversation_id), channel(), last))
    assert shown["last_message"]["metadata"]["user_read"] == last.sent_at_ms  # type: ignore[index]
