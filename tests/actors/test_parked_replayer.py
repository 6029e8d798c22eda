"""ParkedReplayer among replicas: a replay longer than the session is taken over without a crash."""

from random import Random

import anyio

from airy import topics
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.runtime import Context
from airy.model.entity import Channel
from tests.kit.harness import Harness

AWAY_S = 60.0  # longer than a session


class Slow(ParkedReplayer):
    handled = 0

    async def _replay(self, ctx: Context, channel: Channel) -> None:
        self.handled += 1
        if self.handled == 1:
            await anyio.sleep(AWAY_S)
        await super()._replay(ctx, channel)


async def test_a_replay_that_outlasts_the_session_is_left_to_the_new_owner() -> None:
    harness = Harness()
    async with harness.open():
        ports = (harness.bus, harness.source, harness.store, harness.projector.wait_for_position)
        slow, other = Slow(*ports), Slow(*ports)
        other.handled = 1  # in no way slow
        ctx = Context("parked-replayer", clock=harness.clock, random=Random(0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.run, ctx)
            await anyio.sleep(1)
            await harness.connect()
            await anyio.sleep(1)
            tasks.start_soon(other.run, Context("parked-replayer", clock=harness.clock, random=Random(1)))
            await anyio.sleep(AWAY_S * 3)
            tp = topics.CHANNELS.topic_partitions[topics.CHANNELS.partition(harness.channel.id)]
            committed = await harness.bus.committed("sources.facebook.unpark", [topics.CHANNELS])
            tasks.cancel_scope.cancel()

        assert (slow.handled, other.handled) == (1, 2)
        assert committed[tp] == 1
