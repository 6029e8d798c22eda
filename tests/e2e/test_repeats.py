"""Every provider event five times, shuffled, across restarts (G2)."""

import hmac
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from airy.sim.graph import GraphOptions, GraphProvider
from airy.sim.provider import ROUGH
from tests.kit.process import AiryProcess, Subscriber, call_retrying, connect, http_session, messenger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

START_MS = 1_767_225_600_000
PEOPLE = 4
LAST = ("that was all", "that was all again")
WITHIN_S = 240.0  # bounds a hang


def webhooks(seed: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """What a page with a few people would post: text, images, edits, deletions, reactions, receipts, inbox echoes. And
    two final messages of each contact, which are visible once everything accepted before them is.
    """
    core = GraphProvider(GraphOptions(seed=seed, behaviour=ROUGH), now_ms=START_MS)
    people = [core.person() for _ in range(PEOPLE)]
    now_ms = START_MS
    for number in range(40):
        now_ms += 1_000
        psid = people[number % PEOPLE]
        mid = core.says(psid, f"message {number}", now_ms)
        if number % 5 == 0:
            core.edits(psid, mid, f"edited {number}", now_ms + 100)
        if number % 7 == 0:
            core.unsends(psid, mid, now_ms + 200)
        if number % 3 == 0:
            core.reacts(psid, mid, "👍", now_ms + 300)
        if number % 4 == 0:
            core.inbox_says(psid, f"inbox {number}", now_ms + 400)
        core.reads(psid, now_ms + 500)
    bodies = posted(core, now_ms)
    first, second = (last_words(core, people, word, now_ms) for word in LAST)
    return bodies, first, second


def last_words(core: GraphProvider, people: list[str], word: str, now_ms: int) -> list[bytes]:
    for psid in people:
        core.says(psid, word, now_ms)
    return posted(core, now_ms)


def posted(core: GraphProvider, now_ms: int) -> list[bytes]:
    return [post.body for post in core.advance(now_ms + 10_000_000) if not post.duplicate]


async def post_all(airy: AiryProcess, session: aiohttp.ClientSession, bodies: list[bytes]) -> None:
    """Retries each until it is acknowledged, as Meta does."""

    async def post(body: bytes) -> None:
        signature = hmac.new(b"app-secret", body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        while True:  # the test's time-out is the bound
            with suppress(aiohttp.ClientConnectionError):  # the server may close an idle connection
                async with session.post(f"{airy.url}/facebook", data=body, headers=headers) as answer:
                    assert answer.status in {200, 503}
                    if answer.status == 200:
                        return
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        for body in bodies:
            tasks.start_soon(post, body)


async def seen(airy: AiryProcess, session: aiohttp.ClientSession, word: str) -> dict[str, object]:
    """Everything the API shows, except the order of facts and the final messages. Empty until each conversation shows
    `word` and the outcome of its profile request, which has no defined time.
    """
    shown: dict[str, object] = {}
    for conversation in (await call_retrying(airy, session, "/conversations.list", {}))["data"]:
        about = {"conversation_id": conversation["id"]}
        messages = (await call_retrying(airy, session, "/messages.list", {**about, "page_size": 500}))["data"]
        metadata = (await call_retrying(airy, session, "/conversations.info", about))["metadata"]
        words = [text(message) for message in messages if text(message) in LAST]
        if word not in words or "fetch_state" not in metadata["contact"]:
            return {}
        metadata["unread_count"] -= len(words)
        shown[conversation["id"]] = [message for message in messages if text(message) not in LAST], metadata
    return shown if len(shown) == PEOPLE else {}


def text(message: dict[str, Any]) -> str:
    return str(message["content"].get("message", {}).get("text"))


async def settled(airy: AiryProcess, session: aiohttp.ClientSession, word: str) -> dict[str, object]:
    with anyio.fail_after(WITHIN_S):
        while not (shown := await seen(airy, session, word)):
            await anyio.sleep(0.1)  # the machine's clock: another process is waited for
    return shown


async def test_events_repeated_and_shuffled_across_restarts_change_nothing(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    bodies, first, second = webhooks(seed)
    async with messenger() as (_, graph_url), Subscriber().serving() as subscriber, http_session() as session:
        with closing(AiryProcess(tmp_path, graph_url)) as airy:
            airy.start()
            await airy.ready(session)
            await connect(airy, session)
            hook = {"url": subscriber.url, "events": ["message.created"]}
            await call_retrying(airy, session, "/webhooks.subscribe", hook)
            await post_all(airy, session, bodies)
            await post_all(airy, session, first)
            once = await settled(airy, session, LAST[0])
            for _ in range(2):
                repeated = bodies * 2
                random.shuffle(repeated)
                await post_all(airy, session, repeated[: len(bodies)])
                airy.kill()
                airy.start()
                await airy.ready(session)
                await post_all(airy, session, repeated[len(bodies) :])
            await post_all(airy, session, second)
            five_times = await settled(airy, session, LAST[1])
            assert airy.stop() == 0

    assert five_times == once
    created = [msgspec.json.decode(body)["payload"]["message"]["id"] for _, body, _ in subscriber.received]
    assert len({event_id for event_id, _, _ in subscriber.received}) == len(set(created))
