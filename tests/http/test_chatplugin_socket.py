"""`/ws.chatplugin` as the widget of the original uses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from airy.commands import VisitorSettings
from airy.http.response_schemas import VisitorMessageSchema
from airy.http.stomp.frame import Frame
from airy.model.fact import MetadataChanged
from tests.http.test_chatplugin import (
    HOUR_MS,
    OTHER_SITE,
    SITE,
    answered,
    begun,
    configured,
    connected,
    delivery_state,
    resumed,
    says,
)
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import raw
from tests.kit.response_schemas import validated
from tests.kit.stomp_client import StompClient

PATH, QUEUE = "/ws.chatplugin", "/user/queue/message"
SETTLE_S = 1.0


@asynccontextmanager
async def socket(api: ApiHarness, **headers: str) -> AsyncIterator[StompClient]:
    with anyio.fail_after(600 * 60):
        async with open_websocket(api.app, PATH, headers.items(), subprotocols=("v12.stomp",)) as opened:
            assert opened.rejection is None, opened.rejection
            yield StompClient(opened)


@asynccontextmanager
async def subscribed(api: ApiHarness, token: str) -> AsyncIterator[StompClient]:
    async with socket(api) as client:
        assert (await client.connect(f"Bearer {token}")).command == "CONNECTED"
        await client.subscribe(destination=QUEUE)
        yield client


async def message(client: StompClient) -> dict[str, Any]:
    frame = await client.receive()
    assert frame.command == "MESSAGE", frame
    return dict(msgspec.json.decode(frame.body))


# --- messages


async def test_what_a_visitor_writes_comes_back_on_every_socket_of_the_visitor() -> None:
    """L1, CH-1."""
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        async with subscribed(api, visit["token"]) as one, subscribed(api, visit["token"]) as two:
            written = await says(api, visit["token"])
            for client in (one, two):
                frame = await client.receive()
                found = msgspec.json.decode(frame.body)
                assert found == {
                    "conversation_id": written["sender"]["id"],
                    "channel_id": channel_id,
                    "message": written,
                }
                assert (frame.headers["destination"], frame.headers["content-type"]) == (QUEUE, "application/json")
                assert frame.headers["message-id"] == written["id"]


async def test_an_answer_reaches_the_visitor_once_and_is_delivered_then() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        async with subscribed(api, visit["token"]) as client:
            written = await says(api, visit["token"])
            await client.receive()
            shown = {"canonical": {"type": "text", "text": "Yes."}}
            message_id = await answered(api, written["sender"]["id"], channel_id, shown)
            found = validated(VisitorMessageSchema, (await message(client))["message"])
            assert (found.id, found.content, found.from_contact) == (message_id, {"text": "Yes."}, False)
            await anyio.sleep(SETTLE_S)
            assert await delivery_state(api, message_id) == "delivered"

            await api.append(noted(written["sender"]["id"], channel_id, message_id))
            again = await says(api, visit["token"], "Thanks!")
            assert (await message(client))["message"]["id"] == again["id"]


def noted(conversation_id: str, channel_id: str, message_id: str) -> MetadataChanged:
    return MetadataChanged(
        id="a-note",
        conversation_id=conversation_id,
        channel_id=channel_id,
        source="chatplugin",
        at_ms=1,
        subject="message",
        subject_id=message_id,
        set={"user_data.secret": raw("for agents only")},
    )


async def test_a_message_that_is_not_sent_yet_or_was_cancelled_is_not_shown() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        async with subscribed(api, visit["token"]) as client:
            written = await says(api, visit["token"])
            await client.receive()
            message_id = await answered(api, written["sender"]["id"], channel_id, {"text": "Oops"}, sent=False)
            await api.call("/messages.cancel", {"message_id": message_id})
            await says(api, visit["token"], "Hello?")
            assert (await message(client))["message"]["content"] == {"text": "Hello?"}


async def test_an_absent_visitor_gets_the_answer_with_the_next_subscription() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        written = await says(api, visit["token"])
        message_id = await answered(api, written["sender"]["id"], channel_id, {"text": "Yes."})
        assert await delivery_state(api, message_id) == "sent"
        async with socket(api) as client:
            await client.connect(f"Bearer {visit['token']}")
            await client.send("SUBSCRIBE", id="a", destination=QUEUE)
            assert (await message(client))["message"]["id"] == message_id
            await anyio.sleep(SETTLE_S)
        async with subscribed(api, visit["token"]) as client:
            later = await says(api, visit["token"], "Thanks!")
            assert (await message(client))["message"]["id"] == later["id"]


async def test_a_visitor_gets_nothing_of_other_conversations() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        one, two = await begun(api, channel_id), await begun(api, channel_id)
        async with subscribed(api, one["token"]) as client:
            await says(api, two["token"], "of another visitor")
            own = await says(api, one["token"], "own")
            assert (await message(client))["message"]["id"] == own["id"]


# --- authentication


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", f"Bearer {TOKEN}"])
async def test_without_the_token_of_a_visit_the_error_has_a_401_and_the_socket_closes(
    authorization: str | None,
) -> None:
    async with api_harness() as api, socket(api) as client:
        error = await client.connect(authorization)
        assert (error.command, "401" in error.headers["message"]) == ("ERROR", True)
        assert await client.closed() == 1002


async def test_a_resume_token_opens_no_socket() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        async with socket(api) as client:
            assert "401" in (await client.connect(f"Bearer {visit['resume_token']}")).headers["message"]


async def test_a_visitor_subscribes_to_nothing_else_and_sends_nothing() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        for frame in (
            Frame("SUBSCRIBE", {"id": "a", "destination": "/events"}),
            Frame("SEND", {"destination": QUEUE}, b"{}"),
        ):
            async with socket(api) as client:
                await client.connect(f"Bearer {visit['token']}")
                await client.send(frame.command, frame.body, **frame.headers)
                assert (await client.receive()).headers["message"][:3] in {"403", "404"}


async def test_a_visitors_token_opens_no_socket_of_agents() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        async with open_websocket(api.app, "/ws.communication") as opened:
            assert "401" in (await StompClient(opened).connect(f"Bearer {visit['token']}")).headers["message"]


async def test_a_socket_ends_with_a_401_when_its_visit_has_ended() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        async with subscribed(api, visit["token"]) as client:
            api.clock.set(HOUR_MS)
            assert "401" in (await client.receive()).headers["message"]


async def test_a_socket_ends_when_its_channel_is_disconnected() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        async with subscribed(api, visit["token"]) as client:
            await api.call("/channels.chatplugin.disconnect", {"channel_id": channel_id}, status=204)
            assert "401" in (await client.receive()).headers["message"]


async def test_a_socket_ends_when_the_tokens_of_the_conversation_are_revoked() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        await says(api, visit["token"])
        renewed = await resumed(api, visit["resume_token"])
        async with subscribed(api, renewed["token"]) as client:
            await anyio.sleep(40)
            await resumed(api, visit["resume_token"], 401)
            assert "401" in (await client.receive()).headers["message"]


async def test_a_page_of_another_origin_opens_no_socket() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        await configured(api, channel_id, allowed_origins=[SITE])
        async with socket(api, origin=SITE) as client:
            assert (await client.connect(f"Bearer {visit['token']}")).command == "CONNECTED"
        async with socket(api, origin=OTHER_SITE) as client:
            assert "401" in (await client.connect(f"Bearer {visit['token']}")).headers["message"]


async def test_a_visitor_has_a_bounded_number_of_sockets() -> None:
    async with api_harness(visitors=VisitorSettings(sockets_max=1)) as api:
        visit = await begun(api, await connected(api))
        async with subscribed(api, visit["token"]), socket(api) as client:
            refused = (await client.connect(f"Bearer {visit['token']}")).headers
            assert (refused["message"][:3], refused["retry-after"]) == ("429", "30")
        async with subscribed(api, visit["token"]):
            pass
