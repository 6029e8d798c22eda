"""Every provider event five times, shuffled, across restarts: nothing changes (G2)."""

import hmac
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

import aiohttp
import anyio
import msgspec
import pytest

from airy.sim.messenger.core import MessengerCore
from airy.sim.messenger.options import ROUGH, SimOptions
from tests.kit.process import AiryProcess, Subscriber, connect, messenger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

START_MS = 1_767_225_600_000


def webhooks(seed: int) -> list[bytes]:
    """What a page with a few people would post: text, images, edits, deletions, reactions, receipts, inbox echoes."""
    core = MessengerCore(SimOptions(seed=seed, behaviour=ROUGH), now_ms=START_MS)
    people = [core.person() for _ in range(4)]
    now_ms = START_MS
    for number in range(40):
        now_ms += 1_000
        psid = people[number % 4]
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
    return [post.body for post in core.advance(now_ms + 10_000_000) if not post.copy]


async def post_all(airy: AiryProcess, session: aiohttp.ClientSession, bodies: list[bytes]) -> None:
    async def post(body: bytes) -> None:
        signature = hmac.new(b"app-secret", body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        async with session.post(f"{airy.url}/facebook", data=body, headers=headers) as answer:
            assert answer.status == 200

    async with anyio.create_task_group() as tasks:
        for body in bodies:
            tasks.start_soon(post, body)


async def seen(airy: AiryProcess, session: aiohttp.ClientSession) -> dict[str, object]:
    """Everything the API shows, except in which order facts were numbered."""
    shown: dict[str, object] = {}
    for conversation in (await airy.call(session, "/conversations.list", {}))["data"]:
        body = {"conversation_id": conversation["id"], "page_size": 500}
        shown[conversation["id"]] = (await airy.call(session, "/messages.list", body))["data"], conversation["metadata"]
    return shown


async def settled(airy: AiryProcess, session: aiohttp.ClientSession) -> dict[str, object]:
    """What the API shows once it shows the same for two seconds: whoever answers is awake, and had time to go on."""
    before, after, same = None, await seen(airy, session), 0
    with anyio.fail_after(90):
        while same < 20:
            await anyio.sleep(0.1)
            before, after = after, await seen(airy, session)
            same = same + 1 if before == after and after else 0
    return after


async def test_five_times_shuffled_across_restarts_changes_nothing(
    tmp_path: Path, free_tcp_port: int, seed: int
) -> None:
    random = Random(seed)
    bodies = webhooks(seed)
    async with messenger() as (_, graph_url), Subscriber().serving() as subscriber, aiohttp.ClientSession() as session:
        with closing(AiryProcess(tmp_path, graph_url, free_tcp_port)) as airy:
            airy.start()
            await airy.ready(session)
            await connect(airy, session)
            await airy.call(session, "/webhooks.subscribe", {"url": subscriber.url, "events": ["message.created"]})
            await post_all(airy, session, bodies)
            once = await settled(airy, session)
            for _ in range(2):
                repeated = bodies * 2
                random.shuffle(repeated)
                await post_all(airy, session, repeated[: len(bodies)])
                airy.kill()
                airy.start()
                await airy.ready(session)
                await post_all(airy, session, repeated[len(bodies) :])
            five_times = await settled(airy, session)
            assert airy.stop() == 0

    assert five_times == once
    created = [msgspec.json.decode(body)["payload"]["message"]["id"] for _, body, _ in subscriber.received]
    assert len({event_id for event_id, _, _ in subscriber.received}) == len(set(created))
