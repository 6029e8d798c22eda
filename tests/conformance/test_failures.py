"""Scenarios of failures, over whole processes in virtual time; the other ids of `X-` are named by tests elsewhere."""

from typing import Any

import anyio
import msgspec
import pytest

from tests.kit.asgi import call
from tests.kit.event_loops import asyncio_backend
from tests.kit.in_process import InProcessAiry
from tests.kit.providers import WIRES, Webhook
from tests.kit.scripted_provider import Act

SETTLED_S = 30.0
DAY_MS = 86_400_000  # a message that was not sent by then expires
ANSWER = {"canonical": {"type": "text", "text": "Yes, three left."}}

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])
every_source = pytest.mark.parametrize("source", list(WIRES))


def process_of(source: str, **options: Any) -> InProcessAiry:
    return InProcessAiry(wire=type(WIRES[source])(), **options)  # its own, because connecting changes what it knows


def written(here: InProcessAiry, number: int, text: str) -> Webhook:
    return here.provider.wire.received(here.provider.kind, number, text, here.clock.now_ms())


async def contact_writes(here: InProcessAiry) -> str:
    """The id of the conversation that the first message of a contact begins."""
    await here.deliver(written(here, 1, "Is the rye bread back?"))
    with anyio.fail_after(SETTLED_S):
        while not (found := (await here.asked("/conversations.list"))["data"]):
            await anyio.sleep(0.1)
    return str(found[0]["id"])


async def state_of(here: InProcessAiry, conversation_id: str, message_id: str) -> str:
    messages = (await here.asked("/messages.list", {"conversation_id": conversation_id}))["data"]
    (found,) = (each for each in messages if each["id"] == message_id)
    return str(found["metadata"].get("source", {}).get("delivery_state") or found["delivery_state"])


async def until_state(here: InProcessAiry, conversation_id: str, message_id: str, state: str) -> None:
    with anyio.fail_after(3600.0):
        while await state_of(here, conversation_id, message_id) != state:
            await anyio.sleep(1.0)


async def send(here: InProcessAiry, conversation_id: str, **headers: str) -> str:
    body = {"conversation_id": conversation_id, "message": ANSWER}
    return str((await here.asked("/messages.send", body, **headers))["id"])


@every_source
async def test_x_1_an_event_posted_five_times_at_once_to_two_processes_is_one_message_and_one_reply(
    source: str,
) -> None:
    one = process_of(source)
    two = process_of(source, beside=one, seed=1)
    async with one.open(), two.open():
        await one.connect_form()
        await one.subscribe("message.created")
        await anyio.sleep(SETTLED_S)  # the second process has read the channel, too
        webhook = written(one, 1, "Is the rye bread back?")
        async with anyio.create_task_group() as posts:
            for here in (one, two, one, two, one):
                posts.start_soon(here.deliver, webhook)
        await anyio.sleep(SETTLED_S)
        created = [msgspec.json.decode(each.body)["payload"] for each in one.endpoint.accepted]
        assert [each["message"]["from_contact"] for each in created] == [True]

        for here in (one, two):  # a bot whose first answer got lost
            await send(here, created[0]["conversation_id"], idempotency_key=one.endpoint.accepted[0].event_id)
        await anyio.sleep(SETTLED_S)
        assert len(one.provider.delivered) == 1
        for here in (one, two):
            (conversation,) = (await here.asked("/conversations.list"))["data"]
            messages = await here.asked("/messages.list", {"conversation_id": conversation["id"]})
            assert conversation["metadata"]["unread_count"] == 1
            assert [message["from_contact"] for message in messages["data"]] == [False, True]


async def test_x_7_a_rebuilt_store_gives_the_same_answers_and_neither_calls_nor_delivers() -> None:
    here = process_of("whatsapp")
    async with here.open():
        await here.connect_form()
        await here.subscribe("message.created", "conversation.updated")
        conversation_id = await contact_writes(here)
        await until_state(here, conversation_id, await send(here, conversation_id), "sent")
        await anyio.sleep(SETTLED_S)

        async def everything() -> list[Any]:
            listed = [await here.asked(path) for path in ("/conversations.list", "/channels.list", "/contacts.list")]
            return [*listed, await here.asked("/messages.list", {"conversation_id": conversation_id})]

        before, requests, deliveries = await everything(), len(here.provider.requests), here.endpoint.requests
        here.services.projector.rebuild("a test")
        await anyio.sleep(SETTLED_S)

        assert here.line("store.rebuilt")
        assert await everything() == before
        assert (len(here.provider.requests), here.endpoint.requests) == (requests, deliveries)


@every_source
async def test_x_11_a_disconnected_channel_neither_takes_nor_sends(source: str) -> None:
    here = process_of(source)
    async with here.open():
        channel = await here.connect_form()
        conversation_id = await contact_writes(here)
        await here.asked(f"/channels.{here.provider.kind}.disconnect", {"channel_id": channel["id"]})
        again = written(here, 2, "Hello?")
        headers = {name.decode(): value.decode() for name, value in here.provider.wire.signed(again)}
        headers["content-type"] = again.content_type
        path = f"{again.path}{'?' if again.query else ''}{again.query}"
        assert (await call(here.app, "POST", path, body=again.body, headers=headers.items())).status < 500
        refused = await here.post("/messages.send", {"conversation_id": conversation_id, "message": ANSWER})
        await anyio.sleep(SETTLED_S)

        assert refused.status == 403
        assert here.provider.attempts == []
        assert len((await here.asked("/messages.list", {"conversation_id": conversation_id}))["data"]) == 1


async def test_x_13_a_message_that_failed_long_ago_is_really_sent_when_it_is_resent() -> None:
    here = process_of("twilio")
    async with here.open():
        await here.connect_form()
        conversation_id = await contact_writes(here)
        here.provider.script.append(Act.BLOCKED)
        message_id = await send(here, conversation_id)
        await until_state(here, conversation_id, message_id, "failed")
        here.clock.set(90 * DAY_MS)
        await here.asked("/messages.resend", {"message_id": message_id})
        await until_state(here, conversation_id, message_id, "sent")

        assert [attempt.act for attempt in here.provider.attempts] == [Act.BLOCKED, Act.OK]


async def test_x_14_what_is_sent_while_a_source_is_off_waits_for_it_and_expires_if_that_takes_too_long() -> None:
    off = process_of("telegram").running - {"sources-telegram"}
    edge = process_of("telegram", running=off)
    async with edge.open():
        async with process_of("telegram", beside=edge).open() as first:
            await first.connect_form()
            conversation_id = await contact_writes(first)
        late = await send(edge, conversation_id)
        edge.clock.set(DAY_MS + 60_000)
        assert await state_of(edge, conversation_id, late) == "pending"
        in_time = await send(edge, conversation_id)
        await anyio.sleep(60.0)
        assert edge.provider.attempts == []

        async with process_of("telegram", beside=edge).open():
            await until_state(edge, conversation_id, in_time, "sent")
            await until_state(edge, conversation_id, late, "failed")
            assert len(edge.provider.delivered) == 1
