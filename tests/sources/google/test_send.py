"""What Business Messages is sent, and what its answers mean."""

from typing import Any

import msgspec
import pytest

from airy.http_client import Response
from airy.sources.api import Call, Failed, Lost, Outcome, Sent, Target
from tests.kit.contracts.source import conversation, outbound
from tests.kit.providers import WIRES
from tests.kit.providers.google import ACCESS_TOKEN, AGENT, CONVERSATION

WIRE = WIRES["google"]
SOURCE: Any = WIRE.source()


def encode(content: object, contact: str = CONVERSATION) -> Call | Failed:
    target = Target(
        channel=WIRE.channel(AGENT),
        conversation=conversation(participant_id=contact),
        credentials=WIRE.credentials("google"),
    )
    calls = SOURCE.encode(outbound(content), target, 0)
    return calls if isinstance(calls, Failed) else calls[0]


def sent(content: object) -> dict[str, Any]:
    call = encode(content)
    assert isinstance(call, Call), call
    assert call.headers["authorization"].reveal() == f"Bearer {ACCESS_TOKEN}"
    return msgspec.json.decode(call.body or b"")


def test_go_2_f7_a_text_is_sent_as_it_is_with_our_message_id() -> None:
    bot = {"text": "Hi", "representative": {"representativeType": "BOT"}, "fallback": "Hi"}
    assert sent({**bot, "messageId": "another", "name": "another"}) == {**bot, "messageId": outbound().id}
    assert sent({"text": "Hi"})["representative"] == {"representativeType": "HUMAN"}


def test_a_conversation_is_named_in_the_address_and_leads_nowhere_else() -> None:
    call = encode({"text": "x"}, "a/../b?c")
    assert isinstance(call, Call)
    host = "https://businessmessages.googleapis.com"
    assert call.url.reveal() == f"{host}/v1/conversations/a%2F..%2Fb%3Fc/messages"


def test_reading_is_a_receipt_and_typing_an_event_that_a_repetition_does_not_double() -> None:
    target = Target(
        channel=WIRE.channel(AGENT),
        conversation=conversation(participant_id=CONVERSATION),
        credentials=WIRE.credentials("google"),
    )
    (read,), (typing,), (again,) = SOURCE.mark_read(target, "g-1"), *(SOURCE.typing(target, "g-1") for _ in range(2))
    base = f"https://businessmessages.googleapis.com/v1/conversations/{CONVERSATION}"
    assert (read.method, read.url.reveal()) == ("PATCH", f"{base}/messages/g-1/receipt")
    assert msgspec.json.decode(read.body) == {"receiptType": "READ"}
    assert typing.url.reveal().startswith(f"{base}/events?eventId=")
    assert typing.url.reveal() == again.url.reveal()
    assert msgspec.json.decode(typing.body)["eventType"] == "TYPING_STARTED"


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (
            {"type": "media", "kind": "image", "url": "https://x.example/1.jpg", "caption": "Rye"},
            {"image": {"contentInfo": {"fileUrl": "https://x.example/1.jpg", "altText": "Rye"}}, "fallback": "Rye"},
        ),
        (
            {
                "type": "choice",
                "text": "Which?",
                "options": [
                    {"title": "Red", "payload": "RED"},
                    {"title": "Shop", "kind": "url", "payload": "https://x.example"},
                    {"title": "Call", "kind": "call", "payload": "+4930"},
                ],
            },
            {
                "text": "Which?",
                "fallback": "Which?\nRed\nShop\nCall",
                "suggestions": [
                    {"reply": {"text": "Red", "postbackData": "RED"}},
                    {
                        "action": {
                            "text": "Shop",
                            "postbackData": "https://x.example",
                            "openUrlAction": {"url": "https://x.example"},
                        }
                    },
                    {"action": {"text": "Call", "postbackData": "+4930", "dialAction": {"phoneNumber": "+4930"}}},
                ],
            },
        ),
        (
            {"type": "card", "title": "Rye", "subtitle": "1 kg", "image": "https://x.example/r.jpg"},
            {
                "richCard": {
                    "standaloneCard": {
                        "cardOrientation": "VERTICAL",
                        "cardContent": {
                            "title": "Rye",
                            "description": "1 kg",
                            "media": {"height": "MEDIUM", "contentInfo": {"fileUrl": "https://x.example/r.jpg"}},
                        },
                    }
                },
                "fallback": "Rye\n1 kg",
            },
        ),
        (
            {"type": "carousel", "cards": [{"title": "A", "url": "https://x.example/a"}, {"title": "B"}]},
            {
                "richCard": {
                    "carouselCard": {
                        "cardWidth": "MEDIUM",
                        "cardContents": [
                            {
                                "title": "A",
                                "suggestions": [
                                    {
                                        "action": {
                                            "text": "A",
                                            "postbackData": "https://x.example/a",
                                            "openUrlAction": {"url": "https://x.example/a"},
                                        }
                                    }
                                ],
                            },
                            {"title": "B"},
                        ],
                    }
                },
                "fallback": "A\nhttps://x.example/a\nB",
            },
        ),
    ],
)
def test_canonical_content_becomes_a_message_of_googles(content: object, fields: dict[str, object]) -> None:
    body = sent({"canonical": content})
    assert {name: body[name] for name in body if name not in {"messageId", "representative"}} == fields


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"fallback": "x"}, "a message has one of text, image, richCard"),
        ({"text": " "}, "text is missing or empty"),
        ({"image": []}, "image is no object"),
        ({"richCard": "x"}, "richCard is no object"),
        ({"text": "x", "suggestions": [{}] * 14}, "suggestions has 14 entries and google takes 13"),
        ({"canonical": {"type": "card", "title": "x", "buttons": [{"title": "x"}] * 5}}, "google takes 4"),
        ({"canonical": {"type": "card", "title": "x", "buttons": [{"title": "x" * 26}]}}, "26 characters"),
        ({"canonical": {"type": "carousel", "cards": [{"title": "x"}]}}, "a carousel of 2 to 10 cards"),
        ({"canonical": {"type": "location", "latitude": 1, "longitude": 1}}, "google cannot send"),
    ],
)
def test_what_google_would_not_take_is_refused_here(content: object, said: str) -> None:
    failure = encode(content)
    assert isinstance(failure, Failed)
    assert failure.kind == "invalid"
    assert said in failure.error


# --- answers


def interpret(status: int, document: object, **headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SOURCE.interpret([Response(status, named, body)], 0)


@pytest.mark.parametrize("document", [{"messageId": "m-1"}, {"name": "conversations/c/messages/m-1"}])
def test_a_message_is_named_by_the_id_it_was_given(document: object) -> None:
    assert interpret(200, document) == Sent("m-1")


@pytest.mark.parametrize(
    ("code", "status", "kind", "again_s"),
    [
        (400, "INVALID_ARGUMENT", "invalid", None),
        (401, "UNAUTHENTICATED", "auth", None),
        (403, "PERMISSION_DENIED", "not_found", None),
        (404, "NOT_FOUND", "not_found", None),
        (429, "RESOURCE_EXHAUSTED", "rate", 5.0),
        (500, "INTERNAL", "provider", 1.0),
        (503, "UNAVAILABLE", "provider", 1.0),
    ],
)
def test_what_google_refuses_with(code: int, status: str, kind: str, again_s: float | None) -> None:
    failed = interpret(code, {"error": {"code": code, "message": "words", "status": status}})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.again_s, failed.code, failed.error) == (kind, again_s, f"{code}/{status}", "words")
    assert failed.stop_lane is (kind == "auth")


def test_a_403_with_a_reason_is_about_the_caller() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]
    failed = interpret(403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "details": details}})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.stop_lane) == ("auth", True)


def test_an_id_that_exists_was_taken_before_and_its_receipts_will_say_so() -> None:
    assert isinstance(interpret(409, {"error": {"code": 409, "status": "ALREADY_EXISTS"}}), Lost)


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>"), (500, b"{}"), (200, b"{}")])
def test_an_answer_that_is_not_googles_own_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(interpret(status, body), Lost)


def test_a_gateway_refuses_in_its_own_words() -> None:
    limited, refused = interpret(429, b"slow down", retry_after="9"), interpret(418, b"no agents here")
    assert isinstance(limited, Failed)
    assert isinstance(refused, Failed)
    assert (limited.kind, limited.again_s) == ("rate", 9.0)
    assert (refused.kind, refused.error) == ("unknown", "google answered 418; it said: no agents here")
