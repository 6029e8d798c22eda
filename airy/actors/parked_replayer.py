"""Replays parked webhooks when the account they belong to is connected.

The router parks webhooks of accounts without a connected channel. This actor consumes the channels topic in a group, so
a connect is handled at least once; ids make repetition harmless. No webhook is missed: the router checks the channels
again after its parked copy is durable, so it sees a connect written before that, and one written later is seen here
with the copy already in the log.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from airy import topics
from airy.actors.router import facts_of
from airy.actors.runtime import Context
from airy.bus.api import Bus, Fenced
from airy.bus.draining_fetch import draining_fetch
from airy.bus.record import Record, TopicPartition
from airy.errors import Undecodable
from airy.model.entity import Channel
from airy.sources.api import Source

BYTES_MAX = 4_194_304


class ParkedReplayer:
    def __init__(
        self,
        bus: Bus,
        source: Source,
        *,
        counts: Counter[str] | None = None,
        records_max: int = 200,
        idle_s: float = 5.0,
    ) -> None:
        self._bus = bus
        self._source = source
        self._parked = topics.parked_events(source.name)
        self._records_max = records_max
        self._idle_s = idle_s
        self._counts = Counter[str]() if counts is None else counts

    async def run(self, ctx: Context) -> None:
        group = f"sources.{self._source.name}.unpark"
        async with (
            self._bus.subscribe([topics.CHANNELS], group=group) as subscription,
            draining_fetch(ctx) as idle,
        ):
            ctx.ready()
            while not ctx.draining.is_set():
                ctx.progress()
                records = await idle.fetch(
                    subscription, records_max=self._records_max, bytes_max=BYTES_MAX, wait_s=self._idle_s
                )
                for record in records:
                    await self._connected(ctx, record)
                if records:
                    with suppress(Fenced):  # the new owner replays it again, with the same ids
                        await subscription.commit({record.topic_partition: record.offset + 1 for record in records})

    async def _connected(self, ctx: Context, record: Record) -> None:
        try:
            channel = topics.CHANNELS.decode(record)
        except Undecodable as error:
            ctx.log.warning("channel.undecodable", error=str(error))  # the projector has dead-lettered it
            return
        if channel is not None and channel.connected and channel.source == self._source.name:
            await self._replay(ctx, channel)

    async def _replay(self, ctx: Context, channel: Channel) -> None:
        account = channel.source_channel_id
        tp = TopicPartition(self._parked.name, self._parked.partition(account))
        start, end = await self._parked_range(tp)
        channels: Mapping[str, Channel] = {account: channel}
        async with self._bus.tail({tp: start}) as tail:
            while tail.position(tp) < end:
                ctx.progress()
                records = await tail.fetch(records_max=self._records_max, wait_s=self._idle_s)
                matching = [record for record in records if record.key.decode("utf-8", "replace") == account]
                facts = [fact for record in matching for fact in facts_of(self._source, record, channels)]
                if facts:
                    await self._bus.publish(facts)
                    self._counts["replayed"] += len(matching)
                    ctx.log.info("webhooks.replayed", account=account, webhooks=len(matching), facts=len(facts))
                if not records:
                    return

    async def _parked_range(self, tp: TopicPartition) -> tuple[int, int]:
        starts = await self._bus.beginning_offsets([self._parked])
        ends = await self._bus.end_offsets([self._parked])
        return starts[tp], ends[tp]
