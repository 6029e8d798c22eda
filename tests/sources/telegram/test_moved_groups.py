"""All of Airy in one process: a group that becomes a supergroup, and so gets another number, keeps its conversation."""

import json

import anyio
import pytest

from airy.http_client import Response
from tests.kit.in_process import InProcessAiry
from tests.kit.providers.base import Webhook
from tests.kit.providers.telegram import BOT, TelegramWire
from tests.kit.scripted_provider import Act

OLD, NEW = -7100001, -1007100001


class Group:
    def __init__(self, airy: InProcessAiry, wire: TelegramWire) -> None:
        self.airy = airy
        self.wire = wire
        self.updates = 0

    async def posts(self, chat: int, **fields: object) -> None:
        self.updates += 1
        date = self.airy.clock.now_ms() // 1000
        sender = {"id": 7100001, "is_bot": False, "first_name": "Ines"}
        common = {"message_id": self.updates, "date": date, "chat": {"id": chat, "type": "group", "title": "Club"}}
        update = {"update_id": self.updates, "message": {**common, "from": sender, **fields}}
        webhook: Webhook = self.wire.wrapped(json.dumps(update).encode(), BOT)
        await self.airy.deliver(webhook)
        await anyio.sleep(2.0)


@pytest.mark.parametrize("late", [False, True])
async def test_a_group_that_moves_keeps_its_conversation_and_is_answered_at_its_new_number(late: bool) -> None:
    wire = TelegramWire()
    async with InProcessAiry(wire=wire).open() as airy:
        group = Group(airy, wire)
        await airy.connect_form()
        await group.posts(OLD, text="Hello")
        told = [(OLD, {"migrate_to_chat_id": NEW}), (NEW, {"migrate_from_chat_id": OLD})]
        for chat, fields in reversed(told) if late else told:
            await group.posts(chat, **fields)
        await group.posts(NEW, text="Still here?")
        await group.posts(NEW, text="Hello?")
        (conversation,) = (await airy.asked("/conversations.list"))["data"]
        await airy.asked("/messages.send", {"conversation_id": conversation["id"], "message": {"text": "Yes."}})
        await airy.until(lambda: airy.provider.delivered)
    assert [attempt.taken.recipient for attempt in airy.provider.delivered] == [str(NEW)]


class MovedWire(TelegramWire):
    """Telegram knows a group that moved by its new number alone."""

    def contact_blocked(self) -> Response:
        said = {"error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat"}
        moved = {"ok": False, "parameters": {"migrate_to_chat_id": NEW}, **said}
        return Response(400, {}, json.dumps(moved).encode())


async def test_a_group_that_moved_unnoticed_is_answered_at_the_number_that_the_refusal_names() -> None:
    wire = MovedWire()
    async with InProcessAiry(wire=wire).open() as airy:
        group = Group(airy, wire)
        await airy.connect_form()
        await group.posts(OLD, text="Hello")
        (conversation,) = (await airy.asked("/conversations.list"))["data"]
        airy.provider.script.append(Act.BLOCKED)
        await airy.asked("/messages.send", {"conversation_id": conversation["id"], "message": {"text": "Yes."}})
        await airy.until(lambda: airy.provider.delivered)
        await group.posts(NEW, text="Thanks")
        assert len((await airy.asked("/conversations.list"))["data"]) == 1
    assert [attempt.taken.recipient for attempt in airy.provider.attempts] == [str(OLD), str(NEW)]


async def test_two_connects_at_once_leave_the_stored_secret_at_telegram() -> None:
    wire = TelegramWire()
    async with InProcessAiry(wire=wire).open() as airy:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(airy.connect_form)
        await Group(airy, wire).posts(7100001, text="Hello")  # signed with the secret that Telegram has
        assert len((await airy.asked("/conversations.list"))["data"]) == 1
    set_webhooks = [each for each in airy.provider.requests if each.url.endswith("setWebhook")]
    assert len({str(each.fields["secret_token"]) for each in set_webhooks}) == 1
