"""A message to a custom source: the signed call, and what an answer means."""

import hmac
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy.http_client import Response
from airy.model.conversation import Conversation
from airy.model.entity import Channel, CustomSource
from airy.secret import Secret
from airy.sources.api import Call, Failed, Lost, Sent, Target
from airy.sources.canonical import MediaContent, RawContent, TextContent
from airy.sources.custom.encode import encode
from airy.sources.custom.interpret import BUSY_S, RATE_S, interpret
from airy.sources.custom.source import Custom
from airy.sources.custom.spec import SPEC, CustomSection
from tests.kit.contracts.source import RECEIVED_MS, SAMPLES, outbound

ENDPOINT = "https://crm.example.com/act?key=endpoint-secret"
TARGET = Target(
    channel=Channel(id="h", source="crm-bridge", source_channel_id="eu-desk", connected=True),
    conversation=Conversation(
        id="c",
        channel_id="h",
        source="crm-bridge",
        participant_id="customer-88",
        created_at_ms=RECEIVED_MS,
        updated_at_ms=RECEIVED_MS,
    ),
    owner=CustomSource(id="crm-bridge", action_endpoint=ENDPOINT),
    credentials={"token": Secret("the-token"), "previous_token": Secret("the-token-before")},
)


def called(content: object = None, target: Target = TARGET) -> Call:
    (call,) = encode(outbound(content), target)  # type: ignore[misc]
    return call


def payload_of(call: Call) -> Any:
    return msgspec.json.decode(call.body or b"")["payload"]


def test_the_call_is_signed_with_both_tokens_and_shows_none() -> None:
    call = called()
    body = call.body or b""
    headers = {name: value.reveal() for name, value in call.headers.items()}
    assert headers["x-airy-content-signature"] == hmac.digest(b"the-token", body, "sha256").hex()
    assert headers["x-airy-content-signature-previous"] == hmac.digest(b"the-token-before", body, "sha256").hex()
    assert headers["idempotency-key"] == outbound().id
    assert "token" not in repr(call)
    assert "endpoint-secret" not in repr(call)
    once = replace(TARGET, credentials={"token": Secret("the-token")})
    assert "x-airy-content-signature-previous" not in called(target=once).headers


@pytest.mark.parametrize("name", SPEC.kinds[0].capabilities.sends)
def test_canonical_content_reaches_the_source_as_it_is(name: str) -> None:
    content = payload_of(called({"canonical": SAMPLES[name]}))["message"]["content"]
    assert content["canonical"] == SAMPLES[name]
    assert content.get("text") == SAMPLES[name].get("text" if name == "text" else "-")


def test_any_json_reaches_the_source_and_a_new_recipient_is_named() -> None:
    for content in ("text", 7, [1, {"a": None}], {"text": "x", "own": True}):
        assert payload_of(called(content))["message"]["content"] == content
    begun = replace(TARGET, conversation=None)
    assert isinstance(encode(outbound(), begun), Failed)
    (call,) = encode(msgspec.structs.replace(outbound(), recipient_id="customer-9"), begun)  # type: ignore[misc]
    assert payload_of(call)["message"]["source_recipient_id"] == "customer-9"
    assert payload_of(call)["conversation"] is None


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (replace(TARGET, owner=None), "not_found", "was deleted"),
        (replace(TARGET, credentials={}), "not_found", "was deleted"),
        (replace(TARGET, owner=CustomSource(id="crm-bridge")), "invalid", "no action_endpoint"),
    ],
)
def test_what_cannot_be_called_fails_with_a_reason(target: Target, kind: str, words: str) -> None:
    failed = encode(outbound(), target)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.again_s) == (kind, None)
    assert words in failed.error


def test_content_that_is_not_canonical_is_refused_by_name() -> None:
    failed = encode(outbound({"canonical": {"type": "story", "kind": "mention"}}), TARGET)
    assert isinstance(failed, Failed)
    assert "story" in failed.error


def answered(status: int, document: object = None, **headers: str) -> Any:
    body = b"<h1>no</h1>" if document is None else msgspec.json.encode(document)
    return interpret([Response(status=status, headers=headers, body=body)])


@pytest.mark.parametrize("status", [200, 201, 202])
def test_an_answer_with_an_id_is_sent_with_its_metadata(status: int) -> None:
    sent = answered(status, {"source_message_id": "a-1", "metadata": {"ticket": {"id": 7}}})
    assert isinstance(sent, Sent)
    assert sent.provider_id == "a-1"
    assert {key: bytes(value) for key, value in sent.metadata.items()} == {"ticket.id": b"7"}


def test_accepted_without_an_id_is_sent_and_any_other_success_without_one_failed() -> None:
    assert answered(202, {}) == Sent(None)
    assert answered(202) == Sent(None)
    for document in (None, {}, [], {"source_message_id": None}, {"source_message_id": ""}):
        failed = answered(200, document)
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.again_s) == ("unknown", None)
    assert answered(200, {"source_message_id": 7}) == Sent("7")
    assert answered(200, {"error": "closed"}).kind == "invalid"


@pytest.mark.parametrize(
    ("status", "kind", "again_s"),
    [
        (302, "invalid", None),
        (400, "invalid", None),
        (401, "auth", None),
        (403, "auth", None),
        (404, "not_found", None),
        (408, "provider", BUSY_S),
        (410, "not_found", None),
        (422, "invalid", None),
        (425, "provider", BUSY_S),
        (429, "rate", RATE_S),
        (500, "provider", BUSY_S),
        (502, "provider", BUSY_S),
        (503, "provider", BUSY_S),
    ],
)
def test_an_error_of_the_source_leads_to_its_outcome(status: int, kind: str, again_s: float | None) -> None:
    failed = answered(status, {"error": "the customer has left"})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.error, failed.code) == (kind, "the customer has left", f"http/{status}")
    assert failed.again_s == again_s
    if again_s is not None:
        assert answered(status, {"error": "busy"}, **{"retry-after": "30"}).again_s == 30.0


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_error_without_a_reason_proves_nothing(status: int) -> None:
    assert isinstance(answered(status), Lost)
    assert isinstance(answered(status, {"message": "oops"}), Lost)
    assert isinstance(answered(503), Failed)


@pytest.mark.parametrize(
    ("content", "canonical"),
    [
        ("Hello", (TextContent(text="Hello"),)),
        ({"text": "Hello"}, (TextContent(text="Hello"),)),
        (
            {"text": "Look", "attachment": {"type": "image", "payload": {"url": "https://x.y/1"}}},
            (TextContent(text="Look"), MediaContent(kind="image", url="https://x.y/1")),
        ),
        ({"canonical": {"type": "text", "text": "Hi"}}, (TextContent(text="Hi"),)),
        (
            {"canonical": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
            (TextContent(text="1"), TextContent(text="2")),
        ),
        ({"canonical": {"type": "nothing"}}, (RawContent(kind="message"),)),
        ({"own": 1}, (RawContent(kind="message"),)),
        ("", (RawContent(kind="message"),)),
        (7, (RawContent(kind="message"),)),
        (None, (RawContent(kind="message"),)),
    ],
)
def test_contents_are_shown_in_common_terms(content: object, canonical: object) -> None:
    assert Custom(CustomSection()).canonical(content) == canonical
