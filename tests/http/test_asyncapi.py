"""The AsyncAPI document describes the events that are sent."""

from typing import Any

import msgspec

from airy.actors.feed_subscriber import MarkKind
from airy.http.asyncapi import FEED, asyncapi_document
from airy.http.event_schemas import PAYLOADS, SUMMARIES
from airy.model.change import ChangeKind
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import Chat, channel

AUTHORIZED = [("authorization", f"Bearer {TOKEN}")]


async def cause_every_kind_of_event(api: ApiHarness) -> None:
    chat = Chat()
    received, sent = chat.received("hello"), chat.queued("out")
    await api.append(channel(name="shop"), received, sent, chat.deleted("hello"))
    subject = {"subject": "message", "id": sent.message_id, "data": {"priority": 1}}
    await api.call("/metadata.upsert", subject, 204)
    await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, 201)


async def test_every_kind_of_event_is_as_described() -> None:
    """Decoding with these types refuses keys that are missing, unknown or of another type."""
    events: dict[str, Any] = {}
    async with api_harness() as api, open_websocket(api.app, "/events", AUTHORIZED) as socket:
        await cause_every_kind_of_event(api)
        while not events.keys() >= set(ChangeKind):
            event = await socket.receive_json()
            events[event["type"]] = event
    messages = asyncapi_document("1")["components"]["messages"]

    for kind in ChangeKind:
        msgspec.convert(events[kind]["payload"], PAYLOADS[kind])
    for name, event in events.items():
        assert set(messages[FEED + name]["payload"]["required"]) == event.keys()


def test_every_kind_of_event_and_mark_is_in_the_document() -> None:
    document = asyncapi_document("1")

    assert PAYLOADS.keys() == SUMMARIES.keys() == set(ChangeKind)
    assert set(document["channels"]["communication"]["messages"]) == set(ChangeKind)
    assert set(document["channels"]["webhook"]["messages"]) == set(ChangeKind)
    assert set(document["channels"]["events"]["messages"]) == {FEED + each for each in (*ChangeKind, *MarkKind)}


async def test_the_document_is_served_and_its_references_resolve() -> None:
    async with api_harness() as api:
        answer = await call(api.app, "GET", "/schema/asyncapi.json")
    document = answer.json()
    assert document == asyncapi_document("1.2.3")
    found: list[str] = []
    _collect(document, found)
    for reference in found:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, dict):
        found += [item for key, item in value.items() if key == "$ref"]
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)
