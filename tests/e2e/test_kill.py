"""`kill -9` of a real process at random moments under load: what was acknowledged is there, once, delivered in order.

`CYCLES` says how often (`make kill` does a thousand). kill -9 leaves the page cache alone, so this proves the order of
writes and the recovery, not the fsync: that is what the journal's power-cut tests are for.
"""

import os
from contextlib import closing
from pathlib import Path
from random import Random

import anyio
import pytest

from airy.clock import SystemClock
from tests.kit.load import LoadGenerator, add_people, assert_intact, wait_until_delivered
from tests.kit.process import AiryProcess, Subscriber, call_retrying, connect, http_session, messenger

CYCLES = int(os.environ.get("CYCLES", "40" if os.environ.get("CI") else "10"))
SETTLE_S = 600.0  # the third attempt of a delivery is five minutes after the second

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900 + CYCLES * 12),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


async def test_no_acknowledged_event_is_lost_duplicated_or_reordered(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with (
        messenger() as (sim, graph_url),
        Subscriber().serving() as subscriber,
        http_session() as session,
    ):
        with closing(AiryProcess(tmp_path, graph_url)) as airy:
            airy.start()
            await airy.ready(session)
            channel_id = await connect(airy, session)
            await call_retrying(
                airy, session, "/webhooks.subscribe", {"url": subscriber.url, "events": ["message.created"]}
            )
            now_ms = SystemClock().now_ms()
            add_people(sim.core, now_ms)
            load = LoadGenerator(airy, session, random, first_ms=now_ms)
            for _ in range(CYCLES):
                await load.run_for(channel_id, random.uniform(0.05, 0.8))
                airy.kill()
                airy.start()
                await airy.ready(session)
            while not load.answered:  # until the first reply; bounded by the test's time-out
                await load.run_for(channel_id, 1.0)
            await wait_until_delivered(subscriber, load, channel_id, within_s=SETTLE_S)
            await assert_intact(airy, session, load, subscriber, channel_id)
            while not any(sim.core.journal.accepted().values()):  # else the test proves nothing
                await anyio.sleep(0.1)
            assert sim.core.journal.violations() == []
            assert airy.stop() == 0
