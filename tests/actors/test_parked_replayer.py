"""ParkedReplayer among replicas: a replay longer than the session is taken over without a crash."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio

from airy import topics
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.api import Tail
from airy.bus.memory import MemoryBus
from airy.bus.record import Record, TopicPartition
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.api import Channels, Routed
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from tests.kit.harness import Harness
from tests.kit.providers import WIRES
from tests.kit.providers.meta import PAGE

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
        ports = (
            harness.bus,
            harness.source,
            harness.store,
            harness.projector.wait_for_position,
            harness.directory.identities,
        )
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


class SilentOnce(MemoryBus):
    """The first fetch of parked webhooks waits in vain, as at a broker that is slow for a while."""

    fetches = 0

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        async with super().tail(start) as reader:
            fetch, parked = reader.fetch, any(tp.topic.startswith("parked.") for tp in start)

            async def silent_at_first(**limits: Any) -> list[Record]:
                self.fetches += parked
                if not parked or self.fetches > 1:
                    return await fetch(**limits)
                await anyio.sleep(limits["wait_s"])
                return []

            reader.fetch = silent_at_first  # type: ignore[method-assign]
            yield reader


async def test_a_log_that_is_silent_for_a_while_does_not_end_a_replay() -> None:
    harness = Harness()
    bus = SilentOnce(topics.ALL, clock=harness.clock)
    harness.bus, harness.projector = bus, Projector(bus, harness.store)
    async with harness.open(replayer=harness.replayer):
        event = WIRES["facebook"].received("facebook", 1, "hello", 1_767_225_600_000)
        account = harness.channel.source_channel_id
        parked = event.body.replace(PAGE.encode(), account.encode())
        await bus.publish([topics.parked_events("facebook").record(account, parked)])
        await harness.connect()
        await anyio.sleep(30)

        assert (await harness.store.counts())["messages"] == 1


class Faulty(Facebook):
    """Has a bug that only webhooks of connected pages reach."""

    def route(self, record: Record, channels: Channels) -> Routed:
        routed = super().route(record, channels)
        if routed.facts:
            raise KeyError("a bug")
        return routed


async def test_a_bug_on_one_parked_webhook_makes_it_a_dead_letter_and_stops_no_other() -> None:
    harness = Harness()
    harness.source = Faulty(
        FacebookSection(enabled=True, app_id="1", app_secret=(Secret("s"),), webhook_secret=Secret("v"))
    )
    account = harness.channel.source_channel_id
    event = WIRES["facebook"].received("facebook", 1, "hello", 1_767_225_600_000)
    body = event.body.replace(PAGE.encode(), account.encode())
    async with harness.open(router=harness.router, replayer=harness.replayer):
        await harness.bus.publish([topics.source_events("facebook").record(account, body)])
        await anyio.sleep(5)
        await harness.connect()
        await anyio.sleep(30)
        dead = topics.dead_letters(topics.source_events("facebook").name)
        assert sum((await harness.bus.end_offsets([dead])).values()) == 1
        committed = await harness.bus.committed("sources.facebook.unpark", [topics.CHANNELS])
        assert sum(committed.values()) == 1
