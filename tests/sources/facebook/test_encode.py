"""Requests to Meta, and content that is rejected because Meta would reject it."""

import hmac
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from airy.sources.api import Call, Failed
from airy.sources.facebook import Facebook, FacebookConfig
from tests.kit.contracts.source import TOKEN, conversation, outbound
from tests.sources.facebook.test_contract import CONFIG

NOW_MS = 1_735_700_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SOURCE = Facebook(CONFIG)
HUMAN = Facebook(FacebookConfig("990011", ("app-secret",), "verify-me", human_agent=True))


def encode(content: object, *, source: Facebook = SOURCE, wrote_ago_ms: int | None = HOUR_MS) -> Call | Failed:
    """`wrote_ago_ms`: time since the contact's last message; None: no message is known."""
    window = None if wrote_ago_ms is None else NOW_MS - wrote_ago_ms + DAY_MS
    return source.encode(outbound(content), conversation(window_until_ms=window), TOKEN, NOW_MS)


def body(call: Call | Failed) -> dict[str, Any]:
    assert isinstance(call, Call), call
    return msgspec.json.decode(call.body or b"")


def failed(outcome: Call | Failed) -> Failed:
    assert isinstance(outcome, Failed), outcome
    assert outcome.again_s is None
    return outcome


def test_a_text_message() -> None:
    call = encode({"text": "Yes, from Thursday on."})
    assert isinstance(call, Call)
    assert (call.method, call.url) == ("POST", "https://graph.facebook.com/v23.0/me/messages")
    assert call.headers == {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    assert body(call) == {
        "recipient": {"id": "6120000000000001"},
        "messaging_type": "RESPONSE",
        "message": {"text": "Yes, from Thursday on.", "metadata": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60"},
        "appsecret_proof": hmac.new(b"app-secret", TOKEN.encode(), "sha256").hexdigest(),
    }


def test_the_recipient_of_the_message_precedes_that_of_the_conversation() -> None:
    message = outbound()
    message.recipient_id = "another contact"
    call = SOURCE.encode(message, conversation(), TOKEN, NOW_MS)
    assert body(call)["recipient"] == {"id": "another contact"}
    assert body(SOURCE.encode(message, None, TOKEN, NOW_MS))["recipient"] == {"id": "another contact"}


def test_the_callers_content_is_sent_unchanged() -> None:
    """Key order, escapes and numbers of the content survive; its metadata is Airy's."""
    message = outbound()
    message.content = Raw(rb'{"metadata":"theirs","text":"gr\u00fc\u00df","x":{"b":1.0,"a":12345678901234567890123}}')
    call = SOURCE.encode(message, conversation(), TOKEN, NOW_MS)
    assert isinstance(call, Call)
    assert rb'"text":"gr\u00fc\u00df","x":{"b":1.0,"a":12345678901234567890123}' in (call.body or b"")
    assert b"theirs" not in (call.body or b"")


def test_content_may_be_the_whole_request() -> None:
    """With the message inside, as the Send API has it."""
    content = {"message": {"text": "x"}, "messaging_type": "UPDATE", "persona_id": "7", "notification_type": "NO_PUSH"}
    sent = body(encode(content))
    assert sent["message"]["text"] == "x"
    assert (sent["messaging_type"], sent["persona_id"], sent["notification_type"]) == ("UPDATE", "7", "NO_PUSH")


# --- the window


@pytest.mark.parametrize(
    ("source", "wrote_ago_ms", "tag"),
    [
        (SOURCE, None, None),
        (SOURCE, 0, None),
        (SOURCE, DAY_MS, None),
        (SOURCE, DAY_MS + 1, "closed"),
        (HUMAN, DAY_MS, None),
        (HUMAN, DAY_MS + 1, "HUMAN_AGENT"),
        (HUMAN, 7 * DAY_MS, "HUMAN_AGENT"),
        (HUMAN, 7 * DAY_MS + 1, "closed"),
        (HUMAN, None, None),
    ],
)
def test_the_messaging_window_decides_how_a_reply_is_sent(
    source: Facebook, wrote_ago_ms: int | None, tag: str | None
) -> None:
    outcome = encode({"text": "x"}, source=source, wrote_ago_ms=wrote_ago_ms)
    if tag == "closed":
        assert failed(outcome).kind == "window"
        assert "hours ago" in failed(outcome).error
    else:
        sent = body(outcome)
        assert sent["messaging_type"] == ("RESPONSE" if tag is None else "MESSAGE_TAG")
        assert sent.get("tag") == tag


@pytest.mark.parametrize("wrote_ago_ms", [HOUR_MS, 30 * DAY_MS])
def test_a_tag_given_by_the_caller_is_not_checked_against_the_window(wrote_ago_ms: int) -> None:
    sent = body(encode({"text": "x", "tag": "ACCOUNT_UPDATE"}, wrote_ago_ms=wrote_ago_ms))
    assert (sent["messaging_type"], sent["tag"]) == ("MESSAGE_TAG", "ACCOUNT_UPDATE")
    assert "tag" not in sent["message"]


def test_an_update_does_not_open_a_closed_window() -> None:
    assert failed(encode({"text": "x", "messaging_type": "UPDATE"}, wrote_ago_ms=2 * DAY_MS)).kind == "window"


# --- content Meta would reject


def media(kind: str = "image", **payload: object) -> dict[str, object]:
    return {"attachment": {"type": kind, "payload": payload or {"url": "https://cdn.example.net/1.jpg"}}}


def template(**payload: object) -> dict[str, object]:
    return {"attachment": {"type": "template", "payload": payload}}


def reply(**more: object) -> dict[str, object]:
    return {"content_type": "text", "title": "Red", "payload": "RED", **more}


BUTTON = {"type": "postback", "title": "Yes", "payload": "YES"}


@pytest.mark.parametrize(
    "content",
    [
        {"text": "x" * 2000},
        {"text": "ü" * 2000},
        {"text": "x", "quick_replies": [reply()] * 13},
        {"text": "x", "quick_replies": [{"content_type": "user_email"}, {"content_type": "user_phone_number"}]},
        {"text": "x", "reply_to": {"mid": "m_1"}},
        media(),
        media("video"),
        media("audio"),
        media("file", url="http://example.net/f.pdf", is_reusable=True),
        media("image", attachment_id="77"),
        media("image", attachment_id=77),
        media() | {"quick_replies": [reply()]},
        template(template_type="button", text="Choose", buttons=[BUTTON] * 3),
        template(template_type="generic", elements=[{"title": "Rye", "buttons": [BUTTON]}] * 10),
        template(template_type="media", elements=[{"media_type": "image", "attachment_id": "7"}]),
        template(template_type="receipt", anything={"goes": True}),
    ],
)
def test_content_meta_accepts_is_encoded(content: dict[str, object]) -> None:
    assert body(encode(content))["message"] == content | {"metadata": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "x" * 2001}, "text has 2001 characters and messenger takes 2000: split it"),
        ({"text": "  "}, "text is missing or empty"),
        ({"text": "x", **media()}, "either text or attachment, and not both"),
        ({"text": "x", "quick_replies": [reply()] * 14}, "quick_replies has 14 entries and messenger takes 13"),
        ({"text": "x", "quick_replies": []}, "quick_replies is not a list with something in it"),
        ({"text": "x", "quick_replies": [reply(), 5]}, "quick_replies[1] is not an object"),
        ({"text": "x", "quick_replies": [reply(title="")]}, "quick_replies[0].title is missing or empty"),
        ({"text": "x", "quick_replies": [reply(payload=None)]}, "quick_replies[0].payload is missing or empty"),
        ({"text": "x", "quick_replies": [reply(content_type="location")]}, "quick_replies[0].content_type is one of"),
        ({"attachment": 5}, "attachment is not an object"),
        ({"attachment": {"type": "image"}}, "attachment.payload is not an object"),
        (media("gif"), "attachment.type is one of audio, file, image, template, video, not 'gif'"),
        (media("image", alt="x"), "attachment.payload has neither url nor attachment_id"),
        (media("image", url="ftp://x"), "attachment.payload.url is not a web address Meta can fetch"),
        (template(text="x"), "attachment.payload.template_type is missing"),
        (template(template_type="button", text="x", buttons=[BUTTON] * 4), "buttons has 4 entries"),
        (template(template_type="button", buttons=[BUTTON]), "attachment.payload.text is missing or empty"),
        (template(template_type="generic"), "attachment.payload.elements is not a list"),
        (template(template_type="generic", elements=[{"title": "x"}] * 11), "elements has 11 entries"),
        (template(template_type="generic", elements=[{}]), "attachment.payload.elements[0].title is missing or empty"),
        (template(template_type="media", elements=[{}]), "elements[0] has neither url nor attachment_id"),
        ({"text": "x", "messaging_type": "SHOUT"}, "messaging_type is one of"),
        ({"text": "x", "messaging_type": "MESSAGE_TAG"}, "MESSAGE_TAG needs a tag"),
        ({"text": "x", "tag": 5}, "tag is a word"),
        ({"sender_action": "typing_on"}, "either text or attachment"),
        ({"message": 5}, "not an object but a number; send an object with text or attachment"),
    ],
)
def test_content_meta_rejects_fails_with_the_correction(content: dict[str, object], said: str) -> None:
    failure = failed(encode(content))
    assert failure.kind == "invalid"
    assert said in failure.error


@pytest.mark.parametrize("content", [b"", b"{", b'{"text":"\\ud800"}', b'{"text":"\xff"}', b'{"text":1e999}'])
def test_content_that_is_not_json_is_invalid(content: bytes) -> None:
    message = outbound()
    message.content = Raw(content)
    assert failed(SOURCE.encode(message, conversation(), TOKEN, NOW_MS)).kind == "invalid"
