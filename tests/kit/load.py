"""Load for fault tests, and the checks afterwards: nothing lost, nothing duplicated, everything in order."""

import hmac
from collections import Counter
from hashlib import sha256
from random import Random
from typing import Any, Protocol

import aiohttp
import anyio
import msgspec

from airy.model import ids
from airy.sim.graph import DEMO_PAGE, GraphProvider
from airy.sim.provider.state import Person
from tests.kit.process import Subscriber, call_retrying

PEOPLE = 8
POSTERS = 6
FIRST_MS = 1_767_225_600_000
LISTED_WITHIN_S = 120.0  # the slowest replica lists a message this late at most


class AiryServer(Protocol):
    """One process, or a load balancer in front of several."""

    @property
    def url(self) -> str: ...
    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any: ...


class LoadGenerator:
    """Posts signed webhooks as fast as they are accepted, and sends agents' answers every `answer_every_s`.

    Records what was acknowledged.
    """

    def __init__(
        self,
        airy: AiryServer,
        session: aiohttp.ClientSession,
        random: Random,
        *,
        answer_every_s: float = 0.0,
        first_ms: int = FIRST_MS,
    ) -> None:
        self.acknowledged: dict[str, str] = {}  # mid → text
        self.answered: dict[str, str] = {}  # message id → text
        self.refused = 0
        self._airy = airy
        self._session = session
        self._random = random
        self._answer_every_s = answer_every_s
        self._first_ms = first_ms  # time of the first message: the reply window starts with it
        self._count = 0

    async def run(self, channel_id: str, *, posters: int = POSTERS) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            for _ in range(posters):
                tasks.start_soon(self._post)
            tasks.start_soon(self._answer, channel_id)

    async def run_for(self, channel_id: str, for_s: float) -> None:
        with anyio.move_on_after(for_s):
            await self.run(channel_id)

    async def _post(self) -> None:
        """One person writes; a webhook is repeated until it is accepted, and sometimes after that, as Meta does."""
        while True:
            self._count += 1
            mid, text = f"m_{self._count}", f"message {self._count}"
            at_ms = self._first_ms + self._count
            psid = _psid(self._random.randrange(PEOPLE))
            element = {
                "sender": {"id": psid},
                "recipient": {"id": DEMO_PAGE.id},
                "timestamp": at_ms,
                "message": {"mid": mid, "text": text},
            }
            entry = {"id": DEMO_PAGE.id, "time": at_ms, "messaging": [element]}
            body = msgspec.json.encode({"object": "page", "entry": [entry]})
            for _ in range(self._random.choice((1, 1, 1, 3))):
                if await self._is_accepted(body):
                    self.acknowledged[mid] = text

    async def _is_accepted(self, body: bytes) -> bool:
        signature = hmac.new(b"app-secret", body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        try:
            async with self._session.post(f"{self._airy.url}/facebook", data=body, headers=headers) as answer:
                accepted = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            accepted = False
        if not accepted:
            self.refused += 1
            await anyio.sleep(0.01)
        return accepted

    async def _answer(self, channel_id: str) -> None:
        """Agents answer too; each answer with its own idempotency key."""
        while True:
            self._count += 1
            key = f"answer {self._count}"
            conversation_id = ids.conversation_id(channel_id, _psid(self._random.randrange(PEOPLE)))
            body = {"conversation_id": conversation_id, "message": {"text": key}}
            try:
                sent = await self._airy.call(self._session, "/messages.send", body, **{"idempotency-key": key})
                self.answered[sent["id"]] = key
                await anyio.sleep(self._answer_every_s)
            except (aiohttp.ClientError, TimeoutError):
                await anyio.sleep(0.05)


def add_people(core: GraphProvider, now_ms: int) -> None:
    """Register the writing people at the simulated Messenger, which refuses sends to unknown recipients."""
    for number in range(PEOPLE):
        psid = _psid(number)
        core.state.people[psid] = Person(psid, DEMO_PAGE.id, f"Person {number}", wrote_at_ms=now_ms)


async def wait_until_delivered(
    subscriber: Subscriber, load: LoadGenerator, channel_id: str, *, within_s: float
) -> None:
    """Wait until every acknowledged message has reached the endpoint."""
    expected = _acknowledged(load, channel_id)
    with anyio.move_on_after(within_s) as limit:
        while missing := expected - {_message(body)["id"] for _, body, _ in subscriber.received}:
            await anyio.sleep(0.2)
    assert not limit.cancelled_caught, f"{len(missing)} of {len(expected)} acknowledged messages were never delivered"


async def assert_intact(
    airy: AiryServer, session: aiohttp.ClientSession, load: LoadGenerator, subscriber: Subscriber, channel_id: str
) -> None:
    listed = await _listed(airy, session, _acknowledged(load, channel_id), channel_id)
    by_id = Counter(message["id"] for message in listed)
    assert by_id.most_common(1)[0][1] == 1, "a message is listed twice"
    said = Counter(msgspec.json.encode(_text(message)) for message in listed)
    assert said.most_common(1)[0][1] == 1, f"one text is listed twice: {said.most_common(1)[0][0].decode()}"
    texts = {message["id"]: message["content"] for message in listed}
    for mid, text in load.acknowledged.items():
        assert texts[ids.message_id(channel_id, mid)]["message"]["text"] == text
    for message_id, text in load.answered.items():
        assert texts[message_id] == {"text": text}
    assert_in_order(subscriber)


def assert_in_order(subscriber: Subscriber) -> None:
    """Every event has one body, and the first arrivals of a conversation are in its order."""
    bodies: dict[str, bytes] = {}
    order: dict[str, list[int]] = {}
    for event_id, body, _ in subscriber.received:
        if event_id not in bodies:
            event = msgspec.json.decode(body)
            order.setdefault(event["payload"]["conversation_id"], []).append(event["sequence"])
        assert bodies.setdefault(event_id, body) == body, "a repeated delivery has other bytes"
    for conversation_id, sequences in order.items():
        assert sequences == sorted(sequences), f"deliveries of {conversation_id} are out of order"


def _acknowledged(load: LoadGenerator, channel_id: str) -> set[str]:
    return {ids.message_id(channel_id, mid) for mid in load.acknowledged} | load.answered.keys()


async def _listed(
    airy: AiryServer, session: aiohttp.ClientSession, expected: set[str], channel_id: str
) -> list[dict[str, Any]]:
    """All listed messages, once the expected ones are among them: a replica may lag behind the one that delivered."""
    with anyio.move_on_after(LISTED_WITHIN_S):
        while True:
            listed = [each for number in range(PEOPLE) for each in await _messages(airy, session, channel_id, number)]
            missing = expected - {message["id"] for message in listed}
            if not missing:
                return listed
            await anyio.sleep(0.2)  # real time: waits for another process
    raise AssertionError(f"{len(missing)} of {len(expected)} acknowledged messages are not listed")


async def _messages(
    airy: AiryServer, session: aiohttp.ClientSession, channel_id: str, number: int
) -> list[dict[str, Any]]:
    conversation_id = ids.conversation_id(channel_id, _psid(number))
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        body = {"conversation_id": conversation_id, "page_size": 200, "cursor": cursor}
        page = await call_retrying(airy, session, "/messages.list", body)
        found += page["data"]
        cursor = page["pagination_data"]["next_cursor"]
        if cursor is None:
            return found


def _text(message: dict[str, Any]) -> Any:
    """The text of a message; unique within a load."""
    return message["content"].get("message", message["content"])["text"]


def _psid(number: int) -> str:
    return f"61200000000000{number:02}"


def _message(body: bytes) -> dict[str, str]:
    return dict(msgspec.json.decode(body)["payload"]["message"])
