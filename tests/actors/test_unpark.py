"""Unpark among replicas: one that was away too long lets go, and does not fall over it."""

from random import Random

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.actors.unpark import Unpark
from airy.bus.record import Record
from tests.kit.house import House

AWAY_S = 60.0  # longer than a session


class Slow(Unpark):
    handled = 0

    async def _connected(self, ctx: Context, record: Record) -> None:
        self.handled += 1
        if self.handled == 1:
            await anyio.sleep(AWAY_S)
        await super()._connected(ctx, record)


async def test_a_replay_that_outlasts_the_session_is_left_to_the_new_owner() -> None:
    house = House()
    async with house.open():
        slow, other = Slow(house.bus, house.source), Slow(house.bus, house.source)
        other.handled = 1  # in no way slow
        ctx = Context("unpark", clock=house.clock, random=Random(0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.run, ctx)
            await anyio.sleep(1)
            await house.connect()
            await anyio.sleep(1)
            tasks.start_soon(other.run, Context("unpark", clock=house.clock, random=Random(1)))
            await anyio.sleep(AWAY_S * 3)
            where = topics.CHANNELS.where[topics.CHANNELS.partition(house.channel.id)]
            committed = await house.bus.committed("sources.facebook.unpark", [topics.CHANNELS])
            tasks.cancel_scope.cancel()

        assert (slow.handled, other.handled) == (1, 2)
        assert committed[where] == 1
