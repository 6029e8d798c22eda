"""What RCS is sent, and what its answers mean; connecting agents."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused
from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Call, Failed, Installation, Sent, Target
from airy.sources.rcs.spec import ConnectRcsAgent, RcsSection
from tests.kit.contracts.source import conversation, outbound
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.google import service_account
from tests.kit.providers.rcs import ACCESS_TOKEN, AGENT, CLIENT_TOKEN, PHONE
from tests.kit.scripted_provider import ScriptedProvider

WIRE = WIRES["rcs"]
SOURCE: Any = WIRE.source()
TARGET = Target(
    channel=WIRE.channel(AGENT),
    conversation=conversation(participant_id=PHONE),
    credentials=WIRE.credentials("rcs"),
)
BASE = f"https://europe-rcsbusinessmessaging.googleapis.com/v1/phones/{PHONE}"
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL, now_ms=lambda: 1_735_689_600_000)


def encode(content: object) -> Call | Failed:
    calls = SOURCE.encode(outbound(content), TARGET, 0)
    return calls if isinstance(calls, Failed) else calls[0]


def sent(content: object) -> dict[str, Any]:
    call = encode(content)
    assert isinstance(call, Call), call
    assert call.url.reveal() == f"{BASE}/agentMessages?messageId={outbound().id}&agentId={AGENT}"
    assert call.headers["authorization"].reveal() == f"Bearer {ACCESS_TOKEN}"
    return msgspec.json.decode(call.body or b"")


@pytest.mark.parametrize("written", [{"text": "Hi"}, {"contentMessage": {"text": "Hi"}}])
def test_content_is_sent_with_our_message_id_and_what_stands_beside_it(written: dict[str, object]) -> None:
    assert sent({**written, "ttl": "60s"}) == {"contentMessage": {"text": "Hi"}, "ttl": "60s"}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (
            {"type": "media", "kind": "file", "url": "https://x.example/1.pdf"},
            {"contentInfo": {"fileUrl": "https://x.example/1.pdf"}},
        ),
        (
            {"type": "media", "kind": "image", "url": "https://x.example/1.jpg", "caption": "Rye"},
            {
                "richCard": {
                    "standaloneCard": {
                        "cardOrientation": "VERTICAL",
                        "cardContent": {
                            "description": "Rye",
                            "media": {"height": "MEDIUM", "contentInfo": {"fileUrl": "https://x.example/1.jpg"}},
                        },
                    }
                }
            },
        ),
        (
            {"type": "card", "title": "Rye bread with caraway seeds", "url": "https://bakery.example.net/rye"},
            {
                "richCard": {
                    "standaloneCard": {
                        "cardOrientation": "VERTICAL",
                        "cardContent": {
                            "title": "Rye bread with caraway seeds",
                            "suggestions": [
                                {
                                    "action": {
                                        "text": "bakery.example.net",
                                        "postbackData": "https://bakery.example.net/rye",
                                        "openUrlAction": {"url": "https://bakery.example.net/rye"},
                                    }
                                }
                            ],
                        },
                    }
                }
            },
        ),
        (
            {"type": "choice", "text": "Which?", "options": [{"title": "Red", "payload": "RED"}]},
            {"text": "Which?", "suggestions": [{"reply": {"text": "Red", "postbackData": "RED"}}]},
        ),
    ],
)
def test_canonical_content_becomes_a_content_message(content: object, fields: dict[str, object]) -> None:
    assert sent({"canonical": content}) == {"contentMessage": fields}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"contentMessage": {"suggestions": []}}, "a message has one of text, contentInfo"),
        ({"text": "x", "richCard": {"x": 1}}, "a message has one of text, contentInfo"),
        ({"contentMessage": "x"}, "a message has one of"),
        ({"text": "x" * 3_073}, "text has 3073 characters and google takes 3072"),
        ({"richCard": []}, "richCard is no object"),
        ({"text": "x", "suggestions": [{}] * 12}, "suggestions has 12 entries and google takes 11"),
        ({"contentInfo": {"fileUrl": "x" * 260_000}}, "bytes and google takes 256000"),
        ({"canonical": {"type": "choice", "text": "x", "options": [{"title": "x" * 26}]}}, "26 characters"),
        (
            {"canonical": {"type": "media", "kind": "file", "url": "https://x", "caption": "x"}},
            "no caption with file",
        ),
    ],
)
def test_what_google_would_not_take_is_refused_here(content: object, said: str) -> None:
    failure = encode(content)
    assert isinstance(failure, Failed)
    assert failure.kind == "invalid"
    assert said in failure.error


def test_reading_and_typing_are_events_that_a_repetition_does_not_double() -> None:
    (read,), (again,) = SOURCE.mark_read(TARGET, "u-1"), SOURCE.mark_read(TARGET, "u-1")
    (typing,) = SOURCE.typing(TARGET, "u-1")
    assert msgspec.json.decode(read.body) == {"eventType": "READ", "messageId": "u-1"}
    assert msgspec.json.decode(typing.body) == {"eventType": "IS_TYPING"}
    assert read.url.reveal().startswith(f"{BASE}/agentEvents?eventId=")
    assert read.url.reveal() == again.url.reveal() != typing.url.reveal()
    assert SOURCE.mark_read(replace(TARGET, credentials={}), "u-1") == []


def test_a_phone_without_rcs_is_not_found() -> None:
    body = b'{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}'
    failed = SOURCE.interpret([Response(404, {}, body)], 0)
    assert (failed.kind, failed.again_s, failed.code) == ("not_found", None, "404/NOT_FOUND")
    named = b'{"name":"phones/+49/agentMessages/m-1"}'
    assert SOURCE.interpret([Response(200, {}, named)], 0) == Sent("m-1")


# --- connecting


async def connect(section: RcsSection | None = None, here: Installation = HERE, **form: Any) -> Any:
    source = WIRE.spec.load()(section or RcsSection(), PUBLIC_URL)
    client = ScriptedProvider(type(WIRE)(), LoopClock())
    return await source.connect(client, "rcs", ConnectRcsAgent(**{"agent_id": AGENT, **form}), here)


async def test_an_agent_is_connected_with_secrets_of_its_own_and_its_address_is_left_to_paste() -> None:
    own = {"service_account": Secret(service_account()), "client_token": Secret(CLIENT_TOKEN)}
    done = await connect(agent_id=f"{AGENT}@rbm.goog", **own)
    assert (done.account, done.name, done.credentials) == (AGENT, AGENT, own)
    assert [(each.name, each.value.reveal()) for each in done.settings] == [("webhook_url", f"{PUBLIC_URL}/rcs")]


@pytest.mark.parametrize(
    ("lacking", "field"),
    [
        ({"service_account": None}, "service_account"),
        ({"client_token": None}, "client_token"),
        ({"agent_id": "a/b"}, "agent_id"),
    ],
)
async def test_what_lacks_is_named(lacking: dict[str, Any], field: str) -> None:
    own = {"service_account": Secret(service_account()), "client_token": Secret(CLIENT_TOKEN)}
    with pytest.raises(Refused) as refused:
        await connect(**{**own, **lacking})
    assert refused.value.field == field
