"""`kill -9` of a real process at random moments under load: what was acknowledged is there, once, delivered in order.

`CYCLES` says how often (`make kill` does a thousand). kill -9 leaves the page cache alone, so this proves the order of
writes and the recovery, not the fsync: that is what the journal's power-cut tests are for.
"""

import hmac
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random

import aiohttp
import anyio
import msgspec
import pytest

from airy.model import ids
from airy.sim.messenger.options import DEMO_PAGE
from tests.kit.process import AiryProcess, Subscriber, connect, messenger

CYCLES = int(os.environ.get("CYCLES", "100" if os.environ.get("CI") else "10"))
PEOPLE = 8
POSTERS = 6
SETTLE_S = 120.0

pytestmark = [
    pytest.mark.e2e, pytest.mark.timeout(60 + CYCLES * 12), pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]  # fmt: skip


class Load:
    """Signed webhooks and agents' answers, as fast as they are taken."""

    def __init__(self, airy: AiryProcess, session: aiohttp.ClientSession, random: Random) -> None:
        self.acknowledged: dict[str, str] = {}  # mid → text
        self.answered: dict[str, str] = {}  # message id → text
        self._airy = airy
        self._session = session
        self._random = random
        self._count = 0

    async def post(self) -> None:
        """One person writes; the same webhook again until it is taken, as Meta does."""
        while True:
            self._count += 1
            mid, text = f"m_{self._count}", f"message {self._count}"
            psid = f"61200000000000{self._random.randrange(PEOPLE):02}"
            element = {
                "sender": {"id": psid}, "recipient": {"id": DEMO_PAGE.id}, "timestamp": 1_767_225_600_000 + self._count,
                "message": {"mid": mid, "text": text},
            }  # fmt: skip
            entry = {"id": DEMO_PAGE.id, "time": 1_767_225_600_000 + self._count, "messaging": [element]}
            body = msgspec.json.encode({"object": "page", "entry": [entry]})
            for _ in range(self._random.choice((1, 1, 1, 3))):
                if await self._taken(body):
                    self.acknowledged[mid] = text

    async def _taken(self, body: bytes) -> bool:
        signature = hmac.new(b"app-secret", body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        try:
            async with self._session.post(f"{self._airy.url}/facebook", data=body, headers=headers) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            await anyio.sleep(0.01)
            return False

    async def answer(self, channel_id: str) -> None:
        """Agents write too; each answer once, under a key."""
        while True:
            self._count += 1
            key = f"answer {self._count}"
            psid = f"61200000000000{self._random.randrange(PEOPLE):02}"
            body = {"conversation_id": ids.conversation_id(channel_id, psid), "message": {"text": key}}
            try:
                sent = await self._airy.call(self._session, "/messages.send", body, **{"idempotency-key": key})
                self.answered[sent["id"]] = key
            except aiohttp.ClientError:
                await anyio.sleep(0.05)


async def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(
    tmp_path: Path, free_tcp_port: int, seed: int
) -> None:
    random = Random(seed)
    timeout = aiohttp.ClientTimeout(total=10)
    async with messenger() as (sim, graph_url), Subscriber().serving() as subscriber:
        airy = AiryProcess(tmp_path, graph_url, free_tcp_port)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            airy.start()
            await airy.ready(session)
            channel_id = await connect(airy, session)
            await airy.call(session, "/webhooks.subscribe", {"url": subscriber.url, "events": ["message.created"]})
            load = Load(airy, session, random)
            for _ in range(CYCLES):
                await _under_load(load, channel_id, random.uniform(0.05, 0.8))
                airy.kill()
                airy.start()
                await airy.ready(session)
            await _delivered(subscriber, set(load.acknowledged), channel_id)
            await _check(airy, session, load, subscriber, channel_id)
            assert sim.core.journal.violations() == []
            assert airy.stop() == 0


async def _under_load(load: Load, channel_id: str, for_s: float) -> None:
    with anyio.move_on_after(for_s):
        async with anyio.create_task_group() as tasks:
            for _ in range(POSTERS):
                tasks.start_soon(load.post)
            tasks.start_soon(load.answer, channel_id)


async def _delivered(subscriber: Subscriber, mids: set[str], channel_id: str) -> None:
    """Wait until every acknowledged message has reached the endpoint."""
    expected = {ids.message_id(channel_id, mid) for mid in mids}
    with anyio.move_on_after(SETTLE_S) as limit:
        while expected - {_message(body)["id"] for _, body, _ in subscriber.received}:
            await anyio.sleep(0.2)
    assert not limit.cancelled_caught, "some acknowledged messages were never delivered"


async def _check(
    airy: AiryProcess, session: aiohttp.ClientSession, load: Load, subscriber: Subscriber, channel_id: str
) -> None:
    listed = [message for number in range(PEOPLE) for message in await _messages(airy, session, channel_id, number)]
    by_id = Counter(message["id"] for message in listed)
    assert by_id.most_common(1)[0][1] == 1, "a message is listed twice"
    texts = {message["id"]: message["content"] for message in listed}
    for mid, text in load.acknowledged.items():
        assert texts[ids.message_id(channel_id, mid)]["message"]["text"] == text
    for message_id, text in load.answered.items():
        assert texts[message_id] == {"text": text}
    bodies: dict[str, bytes] = {}
    order: dict[str, list[int]] = {}
    for event_id, body, _ in subscriber.received:
        if event_id not in bodies:
            event = msgspec.json.decode(body)
            order.setdefault(event["payload"]["conversation_id"], []).append(event["sequence"])
        assert bodies.setdefault(event_id, body) == body, "a repeated delivery has other bytes"
    for conversation_id, sequences in order.items():
        assert sequences == sorted(sequences), f"deliveries of {conversation_id} are out of order"


async def _messages(
    airy: AiryProcess, session: aiohttp.ClientSession, channel_id: str, number: int
) -> list[dict[str, object]]:
    conversation_id = ids.conversation_id(channel_id, f"61200000000000{number:02}")
    found: list[dict[str, object]] = []
    cursor = None
    while True:
        body = {"conversation_id": conversation_id, "page_size": 200, "cursor": cursor}
        page = await airy.call(session, "/messages.list", body)
        found += page["data"]
        cursor = page["pagination_data"]["next_cursor"]
        if cursor is None:
            return found


def _message(body: bytes) -> dict[str, str]:
    return dict(msgspec.json.decode(body)["payload"]["message"])
