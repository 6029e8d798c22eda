"""Several pages of one app, and what changes under them: no webhook is lost, and each page keeps its own token."""

from collections import Counter
from random import Random

import anyio
import pytest

from airy.http_client import Response
from airy.model import ids
from tests.kit.in_process import InProcessAiry
from tests.kit.providers.base import Request, Webhook, answer
from tests.kit.providers.meta import FacebookWire, written

PAGES = [f"20491837700{number}" for number in range(1, 6)]
PEOPLE = [f"612000000000000{number}" for number in range(1, 6)]
START_MS = 1_767_225_600_000


class Pages(FacebookWire):
    """Each page has a token of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 1

    def token_of(self, page: str) -> str:
        return f"EAATokenOfPage{page}Generation{self.generation}"

    def managed(self, request: Request) -> Response:
        page = request.path.rpartition("/")[2]
        if page in PAGES:
            return answer(200, {"id": page, "name": f"Page {page[-1]}", "access_token": self.token_of(page)})
        return super().managed(request)

    def writes(self, page: str, person: str, number: int, at_ms: int) -> Webhook:
        element = {
            "sender": {"id": person},
            "recipient": {"id": page},
            "timestamp": at_ms,
            "message": {"mid": f"m_{page}-{person}-{number}", "text": f"message {number}"},
        }
        entry = {"id": page, "time": at_ms, "messaging": [element]}
        return self.wrapped(written({"object": "page", "entry": [entry]}), page)


async def connect(airy: InProcessAiry, page: str) -> str:
    channel = await airy.asked("/channels.facebook.connect", {"page_id": page, "page_token": "EAAUserToken"})
    return str(channel["id"])


def conversation_id(page: str, person: str) -> str:
    return ids.conversation_id(ids.channel_id("facebook", page), person)


async def texts(airy: InProcessAiry, page: str, person: str) -> list[str]:
    """What was said, oldest first."""
    body = {"conversation_id": conversation_id(page, person), "page_size": 50}
    found = (await airy.asked("/messages.list", body))["data"]
    return [message["content"].get("message", message["content"])["text"] for message in reversed(found)]


async def test_five_pages_and_five_contacts_each_have_their_own_conversations_and_tokens() -> None:
    """FB-2, FB-4: several messages each, shuffled."""
    wire = Pages()
    airy = InProcessAiry(wire=wire)
    written_by = [(page, person, number) for page in PAGES for person in PEOPLE for number in range(3)]
    Random(2).shuffle(written_by)
    async with airy.open():
        for page in PAGES:
            await connect(airy, page)
        for page, person, number in written_by:
            await airy.deliver(wire.writes(page, person, number, airy.clock.now_ms()))
        await anyio.sleep(5)

        for page in PAGES:
            for person in PEOPLE:
                said = await texts(airy, page, person)
                assert Counter(said) == Counter(f"message {number}" for number in range(3))
        for page in PAGES:
            body = {"conversation_id": conversation_id(page, PEOPLE[0]), "message": {"text": f"answer of {page}"}}
            await airy.asked("/messages.send", body)
        await anyio.sleep(5)

        sends = [request for request in airy.provider.requests if wire.taken(request) is not None]
        used = {wire.taken(request).text: request.headers["authorization"] for request in sends}  # type: ignore[union-attr]
        assert used == {f"answer of {page}": f"Bearer {wire.token_of(page)}" for page in PAGES}


@pytest.mark.parametrize("disconnected", [False, True], ids=["connected again", "disconnected, then connected"])
async def test_a_page_token_is_rotated_without_losing_a_webhook(disconnected: bool) -> None:
    """What arrives while the page is disconnected is kept, and read when it is connected again."""
    wire = Pages()
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel_id = await connect(airy, PAGES[0])
        await airy.deliver(wire.writes(PAGES[0], PEOPLE[0], 0, airy.clock.now_ms()))
        await anyio.sleep(2)
        wire.generation = 2
        if disconnected:
            await airy.asked("/channels.facebook.disconnect", {"channel_id": channel_id})
        await airy.deliver(wire.writes(PAGES[0], PEOPLE[0], 1, airy.clock.now_ms()))
        await anyio.sleep(2)
        assert await connect(airy, PAGES[0]) == channel_id
        await airy.deliver(wire.writes(PAGES[0], PEOPLE[0], 2, airy.clock.now_ms()))
        await anyio.sleep(20)

        assert sorted(await texts(airy, PAGES[0], PEOPLE[0])) == [f"message {number}" for number in range(3)]
        body = {"conversation_id": conversation_id(PAGES[0], PEOPLE[0]), "message": {"text": "Yes."}}
        await airy.asked("/messages.send", body)
        await anyio.sleep(5)
        assert airy.provider.attempts
        sends = [request for request in airy.provider.requests if wire.taken(request) is not None]
        assert [request.headers["authorization"] for request in sends] == [f"Bearer {wire.token_of(PAGES[0])}"]
