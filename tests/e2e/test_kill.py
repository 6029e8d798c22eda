"""`kill -9` of a real process at random moments under load: what was acknowledged is there, once, delivered in order.

`CYCLES` says how often (`make kill` does a thousand). kill -9 leaves the page cache alone, so this proves the order of
writes and the recovery, not the fsync: that is what the journal's power-cut tests are for.
"""

import os
from contextlib import closing
from pathlib import Path
from random import Random

import aiohttp
import pytest

from airy.clock import SystemClock
from tests.kit.load import Load, delivered, introduce, nothing_amiss
from tests.kit.process import AiryProcess, Subscriber, connect, messenger

CYCLES = int(os.environ.get("CYCLES", "100" if os.environ.get("CI") else "10"))
SETTLE_S = 240.0

pytestmark = [
    pytest.mark.e2e, pytest.mark.timeout(60 + CYCLES * 12), pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]  # fmt: skip


async def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(
    tmp_path: Path, free_tcp_port: int, seed: int
) -> None:
    random = Random(seed)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        messenger() as (sim, graph_url),
        Subscriber().serving() as subscriber,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        with closing(AiryProcess(tmp_path, graph_url, free_tcp_port)) as airy:
            airy.start()
            await airy.ready(session)
            channel_id = await connect(airy, session)
            await airy.call(session, "/webhooks.subscribe", {"url": subscriber.url, "events": ["message.created"]})
            now_ms = SystemClock().now_ms()
            introduce(sim.core, now_ms)
            load = Load(airy, session, random, first_ms=now_ms)
            for _ in range(CYCLES):
                await load.run_for(channel_id, random.uniform(0.05, 0.8))
                airy.kill()
                airy.start()
                await airy.ready(session)
            await delivered(subscriber, load, channel_id, within_s=SETTLE_S)
            await nothing_amiss(airy, session, load, subscriber, channel_id)
            assert sim.core.journal.violations() == []
            assert any(sim.core.journal.taken().values()), "the provider took nothing: this proves nothing"
            assert airy.stop() == 0
