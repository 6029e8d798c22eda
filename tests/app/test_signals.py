"""All of Airy in one process: contacts see that they were read, and that an answer is being written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.model import ids
from airy.sources.spec import marks_read
from tests.kit.in_process import InProcessAiry
from tests.kit.providers import WIRES
from tests.kit.providers.base import Request
from tests.kit.scripted_provider import Act

MARKED = [  # Telegram's contact writes to the bot, and only business accounts have the signal
    name for name, wire in WIRES.items() if wire.capabilities(wire.kind).mark_read and name != "telegram"
]
TYPED = [name for name, wire in WIRES.items() if wire.capabilities(wire.kind).typing]


def is_read_mark(request: Request) -> bool:
    fields = request.fields
    read = fields.get("status") == "read" and "typing_indicator" not in fields
    named = "mark_seen" in fields.values() or "READ" in (fields.get("eventType"), fields.get("receiptType"))
    return read or named


def is_typing(request: Request) -> bool:
    fields = request.fields
    named = {"typing_on", "IS_TYPING", "TYPING_STARTED"}.intersection(map(str, fields.values()))
    return bool(named) or "sendChatAction" in request.url or "typing_indicator" in fields


class Conversation:
    def __init__(self, airy: InProcessAiry, conversation_id: str) -> None:
        self.airy = airy
        self.id = conversation_id

    async def asks(self, verb: str) -> None:
        answer = await self.airy.post(f"/conversations.{verb}", {"conversation_id": self.id})
        assert (answer.status, answer.body) == (204, b"")

    def marks(self) -> int:
        return sum(map(is_read_mark, self.airy.provider.requests))

    def typings(self) -> int:
        return sum(map(is_typing, self.airy.provider.requests))


@asynccontextmanager
async def conversation(source: str, **section: object) -> AsyncIterator[Conversation]:
    wire = type(WIRES[source])()
    wire.section = replace(wire.section, **section)  # type: ignore[misc]
    async with InProcessAiry(wire=wire).open() as airy:
        await airy.connect_form()
        await airy.subscribe("message.created")
        await airy.deliver(wire.received(airy.provider.kind, 1, "Is the rye bread back?", airy.clock.now_ms()))
        await airy.until(lambda: airy.endpoint.accepted)
        (found,) = (await airy.asked("/conversations.list"))["data"]
        yield Conversation(airy, found["id"])


@pytest.mark.parametrize("source", MARKED)
async def test_a_contact_sees_once_that_the_messages_were_read(source: str) -> None:
    async with conversation(source) as here:
        await here.asks("mark-read")
        await here.airy.until(here.marks)
        await here.asks("mark-read")  # nothing was unread
        await anyio.sleep(60.0)
        assert here.marks() == 1


@pytest.mark.parametrize("source", [name for name in WIRES if name not in MARKED])
async def test_where_the_provider_has_no_such_signal_nothing_is_called(source: str) -> None:
    async with conversation(source) as here:
        await anyio.sleep(30.0)
        requests = len(here.airy.provider.requests)
        await here.asks("mark-read")
        await anyio.sleep(30.0)
        assert len(here.airy.provider.requests) == requests


@pytest.mark.parametrize("source", MARKED)
async def test_the_configuration_keeps_it_from_contacts(source: str) -> None:
    async with conversation(source, mark_read=False) as here:
        await here.asks("mark-read")
        await anyio.sleep(30.0)
        assert here.marks() == 0


@pytest.mark.parametrize("act", [Act.RATE_LIMITED, Act.TOKEN_REFUSED, Act.BUSY, Act.UNREACHABLE, Act.HANG])
async def test_a_failed_mark_is_not_repeated_and_stops_nothing(act: Act) -> None:
    async with conversation("facebook") as here:
        await anyio.sleep(60.0)  # whatever follows the first message is over
        here.airy.provider.script.append(act)
        await here.asks("mark-read")
        await here.airy.until(lambda: here.airy.line("signal.failed"))
        await here.airy.asked("/messages.send", {"conversation_id": here.id, "message": {"text": "Yes."}})
        await here.airy.until(lambda: here.airy.provider.delivered)
        assert here.marks() <= 1
        assert str(here.airy.logged.entries).count("signal.failed") == 1


@pytest.mark.parametrize("source", TYPED)
async def test_a_contact_sees_that_an_answer_is_written_and_a_hasty_client_makes_no_more_calls(source: str) -> None:
    async with conversation(source) as here:
        for _ in range(10):
            await here.asks("typing")
        assert here.typings() == 1
        await anyio.sleep(5.0)
        await here.asks("typing")
        assert here.typings() == 2


@pytest.mark.parametrize("source", list(WIRES))
async def test_typing_is_answered_alike_whatever_the_provider_has_or_does(source: str) -> None:
    async with conversation(source) as here:
        await anyio.sleep(60.0)
        here.airy.provider.script.append(Act.BUSY)
        began = anyio.current_time()
        await here.asks("typing")
        assert anyio.current_time() - began < 6.0
        assert (await here.airy.post("/conversations.typing", {"conversation_id": ids.derive("x")})).status == 404


async def test_nothing_of_a_signal_is_in_the_log() -> None:
    async with conversation("facebook") as here:
        await here.asks("typing")
        await here.asks("mark-read")
        await here.airy.until(here.marks)
        await anyio.sleep(30.0)
        kinds = [msgspec.json.decode(record.value)["kind"] for record in await here.airy.records(topics.EVENTS)]
        assert sorted(set(kinds) - {"profile.resolved"}) == ["conversation.read", "message.received"]


@pytest.mark.parametrize("source", list(WIRES))
def test_a_kind_that_can_show_it_has_the_switch(source: str) -> None:
    wire = WIRES[source]
    for kind in wire.spec.kinds:
        assert marks_read(wire.spec.section(), kind) == kind.capabilities.mark_read
