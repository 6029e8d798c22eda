"""What we send to Meta, and what we already know Meta will not take."""

import hmac
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from airy.http_client import Response
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sources.api import Call, Failed, Sent, Source, Target
from airy.sources.facebook.source import Facebook
from tests.kit.contracts.source import TOKEN, conversation, outbound
from tests.kit.providers import WIRES

NOW_MS = 1_735_700_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WIRE = WIRES["facebook"]
SOURCE = WIRE.source()
HUMAN = Facebook(replace(WIRE.section, human_agent=True), "")


def target(**known: object) -> Target:
    channel = WIRE.channel(WIRE.accounts["facebook"])
    return Target(channel=channel, conversation=conversation(**known), credentials={"token": Secret(TOKEN)})


def one(calls: object) -> Call | Failed:
    if isinstance(calls, Failed):
        return calls
    (call,) = calls  # type: ignore[misc]
    return call


def encode(content: object, *, source: Source = SOURCE, wrote_ago_ms: int | None = HOUR_MS) -> Call | Failed:
    """`wrote_ago_ms`: since the contact's last message; None: none is known."""
    window = None if wrote_ago_ms is None else NOW_MS - wrote_ago_ms + DAY_MS
    return one(source.encode(outbound(content), target(window_until_ms=window), NOW_MS))


def sent(message: Message, to: Target | None = None) -> Call | Failed:
    return one(SOURCE.encode(message, to or target(), NOW_MS))


def body(call: Call | Failed) -> dict[str, Any]:
    assert isinstance(call, Call), call
    return msgspec.json.decode(call.body or b"")


def failed(outcome: Call | Failed) -> Failed:
    assert isinstance(outcome, Failed), outcome
    assert outcome.again_s is None
    return outcome


def test_a_text() -> None:
    call = encode({"text": "Yes, from Thursday on."})
    assert isinstance(call, Call)
    assert (call.method, call.url.reveal()) == ("POST", "https://graph.facebook.com/v26.0/me/messages")
    headers = {name: value.reveal() for name, value in call.headers.items()}
    assert headers == {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    assert body(call) == {
        "recipient": {"id": "6120000000000001"},
        "messaging_type": "RESPONSE",
        "message": {"text": "Yes, from Thursday on.", "metadata": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60"},
        "appsecret_proof": hmac.new(b"app-secret", TOKEN.encode(), "sha256").hexdigest(),
    }


def test_the_message_names_its_recipient_before_the_conversation() -> None:
    message = outbound()
    message.recipient_id = "another contact"
    assert body(sent(message))["recipient"] == {"id": "another contact"}
    assert body(sent(message, replace(target(), conversation=None)))["recipient"] == {"id": "another contact"}


def test_a_guest_is_addressed_by_the_reference_of_the_plugin() -> None:
    guest = target(participant_id="user_ref:plugin-7f3a", window_until_ms=NOW_MS + HOUR_MS)
    assert body(sent(outbound({"text": "x"}), guest))["recipient"] == {"user_ref": "plugin-7f3a"}
    assert body(one(SOURCE.typing(guest, None)))["recipient"] == {"user_ref": "plugin-7f3a"}  # type: ignore[attr-defined]


def test_the_callers_words_are_sent_as_they_were_written() -> None:
    """Key order, escapes and numbers of the content survive; its metadata is ours."""
    message = outbound()
    message.content = Raw(rb'{"metadata":"theirs","text":"gr\u00fc\u00df","x":{"b":1.0,"a":12345678901234567890123}}')
    call = sent(message)
    assert isinstance(call, Call)
    assert rb'"text":"gr\u00fc\u00df","x":{"b":1.0,"a":12345678901234567890123}' in (call.body or b"")
    assert b"theirs" not in (call.body or b"")


def test_content_may_be_the_whole_request() -> None:
    """With the message inside, as the Send API has it."""
    content = {"message": {"text": "x"}, "messaging_type": "UPDATE", "persona_id": "7", "notification_type": "NO_PUSH"}
    written = body(encode(content))
    assert written["message"]["text"] == "x"
    assert (written["messaging_type"], written["persona_id"], written["notification_type"]) == (
        "UPDATE",
        "7",
        "NO_PUSH",
    )


def test_an_answer_names_its_message_beside_the_text() -> None:
    written = body(encode({"text": "x", "reply_to": {"mid": "m_1"}}))
    assert written["reply_to"] == {"mid": "m_1"}
    assert "reply_to" not in written["message"]


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
def test_how_long_after_a_contact_wrote_we_may_answer(
    source: Source, wrote_ago_ms: int | None, tag: str | None
) -> None:
    outcome = encode({"text": "x"}, source=source, wrote_ago_ms=wrote_ago_ms)
    if tag == "closed":
        assert failed(outcome).kind == "window"
        assert "hours ago" in failed(outcome).error
    else:
        written = body(outcome)
        assert written["messaging_type"] == ("RESPONSE" if tag is None else "MESSAGE_TAG")
        assert written.get("tag") == tag


@pytest.mark.parametrize("wrote_ago_ms", [HOUR_MS, 30 * DAY_MS])
def test_the_callers_own_tag_is_the_callers_business(wrote_ago_ms: int) -> None:
    written = body(encode({"text": "x", "tag": "HUMAN_AGENT"}, wrote_ago_ms=wrote_ago_ms))
    assert (written["messaging_type"], written["tag"]) == ("MESSAGE_TAG", "HUMAN_AGENT")
    assert "tag" not in written["message"]


@pytest.mark.parametrize("tag", ["ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE"])
def test_a_retired_tag_is_refused_by_name_with_what_to_use_instead(tag: str) -> None:
    failure = failed(encode({"text": "x", "tag": tag}))
    assert failure.kind == "invalid"
    assert f"the tag {tag} no more since 2026-04-27" in failure.error
    assert "HUMAN_AGENT within 7 days, and in an approved template otherwise" in failure.error


# --- reactions


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (
            {"sender_action": "react", "payload": {"message_id": "m_AbC-001", "reaction": "😊"}},
            {"sender_action": "react", "payload": {"message_id": "m_AbC-001", "reaction": "😊"}},
        ),
        (
            {"sender_action": "unreact", "payload": {"message_id": "m_AbC-001", "reaction": None}},
            {"sender_action": "unreact", "payload": {"message_id": "m_AbC-001"}},
        ),
    ],
)
def test_a_reaction_is_a_call_without_a_message(content: dict[str, object], sent: dict[str, object]) -> None:
    written = body(encode(content, wrote_ago_ms=30 * DAY_MS))
    assert written.pop("appsecret_proof")
    assert written == {"recipient": {"id": "6120000000000001"}, **sent}


def test_a_reaction_that_was_taken_has_no_id() -> None:
    answer = Response(200, {}, b'{"recipient_id":"6120000000000001"}')
    assert SOURCE.interpret([answer], NOW_MS) == Sent(None)


def test_an_update_does_not_open_a_closed_window() -> None:
    assert failed(encode({"text": "x", "messaging_type": "UPDATE"}, wrote_ago_ms=2 * DAY_MS)).kind == "window"


def test_a_utility_template_is_sent_whenever_the_contact_wrote() -> None:
    template = {"name": "order_update", "language": {"code": "en"}, "components": []}
    written = body(encode({"message": {"template": template}, "messaging_type": "UTILITY"}, wrote_ago_ms=9 * DAY_MS))
    assert (written["messaging_type"], written["message"]["template"]) == ("UTILITY", template)


# --- what Meta would not take


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
        {"sticker_id": 369239263222822},
        {"attachments": [{"type": "image", "payload": {"url": "https://cdn.example.net/1.jpg"}}] * 30},
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
        {"text": "x", "quick_replies": [reply(payload=7), reply(payload=0), reply(title=7, payload=1.5)]},
        {"text": "x", "quick_replies": [reply(payload="", image_url="https://x.example/1.png")]},
        {"text": "x", "quick_replies": [reply(title="", payload=None, image_url="https://x.example/1.png")]},
        {"text": "x", "quick_replies": None},
        {"text": "x", "quick_replies": []},
        {"text": None, "sticker_id": None, "attachments": None, **media()},
        {"text": "", "attachments": [], **media()},
        {"text": "x", "attachment": None},
        media(url="HTTPS://cdn.example.net/1.jpg"),
        media(url=None, attachment_id=77),
        media(kind="Image"),
        template(template_type="generic", elements=[{"title": 7, "buttons": None}, {"title": "x", "buttons": []}]),
    ],
)
def test_what_meta_takes_passes(content: dict[str, object]) -> None:
    assert body(encode(content))["message"] == content | {"metadata": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "x" * 2001}, "text has 2001 characters and messenger takes 2000: split it"),
        ({"text": "  "}, "text is missing or empty"),
        ({"text": "x", **media()}, "either text or attachment, and not both"),
        ({"text": "x", "quick_replies": [reply()] * 14}, "quick_replies has 14 entries and messenger takes 13"),
        ({"text": "x", "quick_replies": {"0": reply()}}, "quick_replies is not a list with something in it"),
        ({"text": "x", "quick_replies": [reply(), 5]}, "quick_replies[1] is not an object"),
        ({"text": "x", "quick_replies": [reply(title="")]}, "quick_replies[0].title is missing or empty"),
        ({"text": "x", "quick_replies": [reply(payload=None)]}, "quick_replies[0].payload is missing or empty"),
        ({"text": "x", "quick_replies": [reply(payload="", image_url="")]}, "quick_replies[0].payload is missing"),
        ({"text": None, "attachment": None}, "either text or attachment"),
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
        ({"sender_action": "typing_on"}, "sender_action is one of react, unreact, not 'typing_on'"),
        ({"sender_action": "react", "payload": {"reaction": "x"}}, "payload.message_id is missing"),
        ({"sender_action": "react", "payload": {"message_id": "m_1"}}, "payload.reaction is missing"),
        (template(template_type="button", text="x" * 641, buttons=[BUTTON]), "text has 641 characters"),
        ({"canonical": {"type": "media", "kind": "image", "url": "https://x.example/1", "caption": "x"}}, "a caption"),
        ({"canonical": {"type": "template", "name": "ready"}}, "needs its language"),
        ({"canonical": {"type": "location", "latitude": 1, "longitude": 2}}, "content of type location"),
        ({"message": 5}, "not an object but a number; send an object with text or attachment"),
    ],
)
def test_what_meta_refuses_is_refused_here_with_what_to_change(content: dict[str, object], said: str) -> None:
    failure = failed(encode(content))
    assert failure.kind == "invalid"
    assert said in failure.error


def test_nulls_beside_a_message_are_not_part_of_the_call() -> None:
    nulls = {"tag": "", "messaging_type": None, "reply_to": None, "canonical": None, "text": None}
    written = body(encode({"message": {"text": "x"}, **nulls}))
    assert (written["message"]["text"], written["messaging_type"]) == ("x", "RESPONSE")
    assert not {"tag", "reply_to"} & written.keys()


@pytest.mark.parametrize("content", [b"", b"{", b'{"text":"\\ud800"}', b'{"text":"\xff"}', b'{"text":1e999}'])
def test_content_that_is_not_json_is_invalid(content: bytes) -> None:
    message = outbound()
    message.content = Raw(content)
    assert failed(sent(message)).kind == "invalid"


# --- canonical content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "text", "text": "Grüße"}, {"text": "Grüße"}),
        ({"type": "card", "title": "Rye"}, {"text": "Rye"}),
        ({"type": "media", "kind": "image", "url": "https://x.example/1.jpg"}, media(url="https://x.example/1.jpg")),
        (
            {"type": "media", "kind": "voice", "url": "https://x.example/1.ogg"},
            media("audio", url="https://x.example/1.ogg"),
        ),
        ({"type": "media", "kind": "file", "media_id": "77"}, media("file", attachment_id="77")),
        ({"type": "media", "kind": "sticker", "media_id": "369239263222822"}, {"sticker_id": "369239263222822"}),
        ({"type": "media", "kind": "sticker", "url": "https://x.example/1"}, media(url="https://x.example/1")),
        (
            {"type": "choice", "text": "Which?", "options": [{"title": "Red", "payload": "RED"}, {"title": "Blue"}]},
            {"text": "Which?", "quick_replies": [reply(), reply(title="Blue", payload="Blue")]},
        ),
        (
            {
                "type": "choice",
                "text": "Call?",
                "options": [{"title": "Shop", "kind": "url", "payload": "https://x.example"}, {"title": "No"}],
            },
            template(
                template_type="button",
                text="Call?",
                buttons=[
                    {"type": "web_url", "title": "Shop", "url": "https://x.example"},
                    {"type": "postback", "title": "No", "payload": "No"},
                ],
            ),
        ),
        (
            {"type": "card", "title": "Rye", "image": "https://x.example/r.jpg", "buttons": [{"title": "Buy"}]},
            template(
                template_type="generic",
                elements=[
                    {
                        "title": "Rye",
                        "image_url": "https://x.example/r.jpg",
                        "buttons": [{"type": "postback", "title": "Buy", "payload": "Buy"}],
                    }
                ],
            ),
        ),
        (
            {"type": "carousel", "cards": [{"title": "Rye", "url": "https://x.example"}, {"title": "Oat"}]},
            template(
                template_type="generic",
                elements=[
                    {"title": "Rye", "default_action": {"type": "web_url", "url": "https://x.example"}},
                    {"title": "Oat"},
                ],
            ),
        ),
    ],
)
def test_canonical_content_becomes_a_message(content: dict[str, object], message: dict[str, object]) -> None:
    written = body(encode({"canonical": content}))["message"]
    assert written == message | {"metadata": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "location", "latitude": 1.0, "longitude": 2.0}, "cannot send canonical content of type location"),
        ({"type": "media", "kind": "image", "url": "https://x", "caption": "x"}, "of type media"),
        ({"type": "text"}, "missing required field `text`"),
        ({"type": "text", "text": "x" * 2001}, "split it"),
        ([{"type": "text", "text": "x"}] * 2, "canonical"),
    ],
)
def test_canonical_content_that_messenger_lacks_is_refused(content: object, said: str) -> None:
    failure = failed(encode({"canonical": content}))
    assert failure.kind == "invalid"
    assert said in failure.error


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"attachment": {"type": ["image"], "payload": {"url": "https://a.example/1.jpg"}}},
            "attachment.type is one of",
        ),
        ({"text": "x", "quick_replies": [{"content_type": {}}]}, "content_type is one of"),
        ({"message": {"text": "x"}, "messaging_type": []}, "messaging_type is one of"),
    ],
)
def test_a_type_that_is_no_text_is_refused_with_a_sentence(content: object, said: str) -> None:
    assert said in failed(encode(content)).error


PARAMETERS = [{"type": "text", "parameter_name": "day", "text": "Thursday"}]


@pytest.mark.parametrize("wrote_ago_ms", [HOUR_MS, 30 * DAY_MS])
@pytest.mark.parametrize("given", [{"components": [{"type": "body", "parameters": PARAMETERS}]}, {"body": PARAMETERS}])
def test_an_approved_template_may_be_sent_at_any_time(wrote_ago_ms: int, given: dict[str, object]) -> None:
    components = {"components": [{"type": "body", "parameters": PARAMETERS}]}
    content = {"type": "template", "name": "order_ready", "language": "de", "components": given}
    written = body(encode({"canonical": content}, wrote_ago_ms=wrote_ago_ms))
    assert written["messaging_type"] == "UTILITY"
    assert written["message"]["template"] == {"name": "order_ready", "language": {"code": "de"}, **components}
