"""What the Bot API is sent, and what its answers mean."""

from typing import Any

import msgspec
import pytest

from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Call, Failed, Lost, Outcome, Sent, Target
from tests.kit.contracts.source import conversation, outbound
from tests.kit.providers import WIRES
from tests.kit.providers.telegram import BOT, TOKEN

WIRE = WIRES["telegram"]
SOURCE: Any = WIRE.source()


def target(contact: str = "7100001") -> Target:
    return Target(
        channel=WIRE.channel(BOT),
        conversation=conversation(participant_id=contact),
        credentials={"token": Secret(TOKEN)},
    )


def encode(content: object, contact: str = "7100001") -> Call | Failed:
    calls = SOURCE.encode(outbound(content), target(contact), 0)
    return calls if isinstance(calls, Failed) else calls[0]


def sent(content: object, contact: str = "7100001") -> tuple[str, dict[str, object]]:
    """The method and its fields."""
    call = encode(content, contact)
    assert isinstance(call, Call), call
    base, _, method = call.url.reveal().rpartition("/")
    assert base == f"https://api.telegram.org/bot{TOKEN}"
    return method, msgspec.json.decode(call.body or b"")


@pytest.mark.parametrize(
    ("contact", "fields"),
    [
        ("7100001", {"chat_id": 7100001}),
        ("-1007100001", {"chat_id": -1007100001}),
        ("-1007100001:7", {"chat_id": -1007100001, "message_thread_id": 7}),
        ("bc-1:7100001", {"chat_id": 7100001, "business_connection_id": "bc-1"}),
        ("9007199254740995", {"chat_id": 9007199254740995}),
    ],
)
def test_a_conversation_leads_back_to_its_chat(contact: str, fields: dict[str, object]) -> None:
    assert sent({"text": "x"}, contact) == ("sendMessage", {**fields, "text": "x"})


def test_a_caller_cannot_send_elsewhere() -> None:
    assert sent({"text": "x", "chat_id": 1, "method": "deleteWebhook"})[1]["chat_id"] == 7100001


@pytest.mark.parametrize(
    ("content", "method", "fields"),
    [
        ({"photo": "https://x.example/1.jpg", "caption": "Rye"}, "sendPhoto", {"caption": "Rye"}),
        ({"document": "file-1"}, "sendDocument", {"document": "file-1"}),
        ({"latitude": 52.5, "longitude": 13.4}, "sendLocation", {"latitude": 52.5, "longitude": 13.4}),
        ({"media": [{"type": "photo", "media": "a"}, {"type": "photo", "media": "b"}]}, "sendMediaGroup", {}),
        (
            {"canonical": {"type": "media", "kind": "voice", "url": "https://x.example/1.ogg"}},
            "sendVoice",
            {"voice": "https://x.example/1.ogg"},
        ),
        (
            {"canonical": {"type": "location", "latitude": 52.5, "longitude": 13.4, "name": "A", "address": "B"}},
            "sendVenue",
            {"title": "A", "address": "B"},
        ),
        (
            {"canonical": {"type": "contacts", "contacts": [{"name": "Ines", "phones": ["+49151"]}]}},
            "sendContact",
            {"phone_number": "+49151", "first_name": "Ines"},
        ),
        (
            {
                "canonical": {
                    "type": "choice",
                    "text": "Which?",
                    "options": [
                        {"title": "Red", "payload": "RED"},
                        {"title": "Shop", "kind": "url", "payload": "https://x"},
                    ],
                }
            },
            "sendMessage",
            {
                "text": "Which?",
                "reply_markup": {
                    "inline_keyboard": [
                        [{"text": "Red", "callback_data": "RED"}],
                        [{"text": "Shop", "url": "https://x"}],
                    ]
                },
            },
        ),
        (
            {"canonical": {"type": "card", "title": "Rye", "subtitle": "1 kg", "image": "https://x.example/r.jpg"}},
            "sendPhoto",
            {"photo": "https://x.example/r.jpg", "caption": "Rye\n1 kg"},
        ),
    ],
)
def test_the_content_chooses_the_method(content: object, method: str, fields: dict[str, object]) -> None:
    called, written = sent(content)
    assert called == method
    assert {name: written[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "x" * 4097}, "text has 4097 characters and telegram takes 4096"),
        ({"photo": "p", "caption": "x" * 1025}, "caption has 1025 characters"),
        ({"photo": 5}, "photo is missing or empty"),
        ({"text": "Rye", "photo": "p"}, "text and photo are two messages"),
        (
            {"canonical": {"type": "text", "text": "Rye"}, "latitude": 52.5, "longitude": 13.4},
            "text and latitude are two",
        ),
        ({"text": ""}, "text is missing or empty"),
        ({"media": ["a"]}, "media is a list of 2 to 10 files"),
        ({"action": "typing"}, "a message has one of text, photo"),
        ({"canonical": {"type": "carousel", "cards": []}}, "telegram cannot send canonical content of type carousel"),
        (
            {"canonical": {"type": "choice", "text": "x", "options": [{"title": "x", "payload": "ü" * 33}]}},
            "more than 64 bytes",
        ),
        ({"canonical": {"type": "choice", "text": "x", "options": [{"title": "x", "kind": "call"}]}}, "call a number"),
    ],
)
def test_what_telegram_would_not_take_is_refused_here(content: object, said: str) -> None:
    failure = encode(content)
    assert isinstance(failure, Failed)
    assert failure.kind == "invalid"
    assert said in failure.error


@pytest.mark.parametrize(
    ("content", "method", "fields"),
    [
        ({"text": None, "photo": "p", "caption": None}, "sendPhoto", {"photo": "p"}),
        ({"text": "", "photo": "p", "caption": ""}, "sendPhoto", {"text": "", "photo": "p", "caption": ""}),
        ({"text": "x", "canonical": None, "parse_mode": None}, "sendMessage", {"text": "x"}),
    ],
)
def test_what_telegram_takes_passes(content: object, method: str, fields: dict[str, object]) -> None:
    assert sent(content) == (method, {"chat_id": 7100001, **fields})


def test_typing_is_an_action_in_the_chat() -> None:
    (call,) = SOURCE.typing(target("-100:7"), None)
    assert call.url.reveal().endswith("/sendChatAction")
    assert msgspec.json.decode(call.body) == {"chat_id": -100, "message_thread_id": 7, "action": "typing"}


# --- answers


def interpret(status: int, document: object) -> Outcome:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return SOURCE.interpret([Response(status, {}, body)], 0)


def refused(code: int, said: str, **parameters: object) -> Failed:
    failure = interpret(code, {"ok": False, "error_code": code, "description": said, "parameters": parameters})
    assert isinstance(failure, Failed)
    return failure


@pytest.mark.parametrize(
    ("result", "provider_id"),
    [
        ({"message_id": 43, "chat": {"id": 7100001}}, "7100001:43"),
        ({"message_id": 43, "chat": {"id": 7100001}, "business_connection_id": "bc-1"}, "bc-1:7100001:43"),
        ([{"message_id": 44, "chat": {"id": 5}}, {"message_id": 45, "chat": {"id": 5}}], "5:44"),
    ],
)
def test_a_message_is_named_by_chat_and_number(result: object, provider_id: str) -> None:
    assert interpret(200, {"ok": True, "result": result}) == Sent(provider_id)


@pytest.mark.parametrize(
    ("code", "said", "kind", "again_s"),
    [
        (400, "Bad Request: chat not found", "not_found", None),
        (400, "Bad Request: message thread not found", "not_found", None),
        (400, "Bad Request: message to be replied not found", "not_found", None),
        (400, "Bad Request: can't parse entities", "invalid", None),
        (401, "Unauthorized", "auth", None),
        (403, "Forbidden: bot was blocked by the user", "blocked", None),
        (403, "Forbidden: user is deactivated", "blocked", None),
        (400, "Bad Request: not enough rights to send text messages to the chat", "blocked", None),
        (409, "Conflict: terminated by other getUpdates request", "provider", 1.0),
        (500, "Internal Server Error", "provider", 1.0),
    ],
)
def test_what_telegram_refuses_with(code: int, said: str, kind: str, again_s: float | None) -> None:
    failure = refused(code, said)
    assert (failure.kind, failure.again_s, failure.error, failure.code) == (kind, again_s, said, str(code))
    assert failure.stop_lane is (code == 401)


def test_a_rate_limit_is_waited_for_exactly() -> None:
    assert refused(429, "Too Many Requests: retry after 7", retry_after=7).again_s == 7.0
    assert refused(429, "Too Many Requests").again_s == 5.0
    assert refused(429, "Too Many Requests", retry_after=10**9).again_s == 3600.0


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>"), (200, b"{}"), (200, b'{"ok":true,"result":true}')])
def test_an_answer_that_is_not_telegrams_own_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(interpret(status, body), Lost)


@pytest.mark.parametrize(
    "body", [b"<html>slow down</html>", b'{"ok":false,"error_code":429,"description":"slow down"}']
)
def test_the_header_says_when_to_try_again_where_the_document_does_not(body: bytes) -> None:
    failed = SOURCE.interpret([Response(429, {"retry-after": "40"}, body)], 0)
    assert (failed.kind, failed.again_s) == ("rate", 40.0)


def test_the_length_of_text_with_markup_is_left_to_telegram_which_counts_without_it() -> None:
    marked_up = {"text": "<b>x</b>" * 600, "parse_mode": "HTML"}
    assert sent(marked_up)[1] == {"chat_id": 7100001, **marked_up}
    refused = encode({"text": "<b>x</b>" * 600})
    assert isinstance(refused, Failed)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"error_code": "403"}, "blocked", "403"),
        ({"error_code": 403.0}, "blocked", "403"),
        ({"error_code": 429, "parameters": {"retry_after": "7"}}, "rate", "429"),
        ({"error_code": 429, "parameters": {"retry_after": 7.0}}, "rate", "429"),
        ({}, "blocked", "http/403"),
    ],
)
def test_codes_and_delays_are_read_in_whatever_type_they_come(error: dict[str, Any], kind: str, code: str) -> None:
    failure = interpret(403, {"ok": False, "description": "not here", **error})
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.code, failure.error) == (kind, code, "not here")
    assert failure.again_s == (7.0 if kind == "rate" else None)


def test_the_words_of_an_answer_that_is_not_telegrams_are_kept() -> None:
    lost, failed = interpret(502, b"<title>Bad Gateway</title>"), interpret(400, b"no bots here")
    assert isinstance(lost, Lost)
    assert isinstance(failed, Failed)
    assert lost.reason.endswith("it said: Bad Gateway")
    assert failed.error.endswith("it said: no bots here")
