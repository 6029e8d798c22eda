"""Replays parked webhooks when the account they belong to is connected.

The router parks webhooks of accounts without a connected channel. This actor consumes the channels topic in a group, so
a connect is handled at least once; ids make repetition harmless. A record of that topic is only the occasion: whether
the channel is connected is read from the store once it has folded the record. No webhook is missed: the router checks
the channels again after its parked copy is durable, so it sees a connect written before that, and one written later is
seen here with the copy already in the log. Parts of a webhook that cannot be read become a dead letter, as in the
router, and so does a webhook on which a source fails: either shows only when the account has a channel.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from airy import topics
from airy.actors.identity_directory import IdentityDirectory
from airy.actors.router import dead_letter, outputs_of
from airy.actors.runtime import Context
from airy.bus.api import Bus, Fenced
from airy.bus.draining_fetch import draining_fetch
from airy.bus.loops import apply_step
from airy.bus.origin import HEADER as ORIGIN_HEADER
from airy.bus.origin import origin_in
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.errors import Unavailable
from airy.model.entity import Channel
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Channels, WebhookSource
from airy.store.api import EntityReader

BYTES_MAX = 4_194_304
FOLD_S = 25.0

WaitForPosition = Callable[[Position, float], Awaitable[bool]]
"""Whether the store has folded the record at a position, waiting up to so many seconds."""


class ParkedReplayer:
    def __init__(
        self,
        bus: Bus,
        source: WebhookSource,
        store: EntityReader,
        wait_for_position: WaitForPosition,
        identities: Callable[[], IdentityDirectory],
        *,
        counts: Counter[str] | None = None,
        records_max: int = 200,
        idle_s: float = 5.0,
    ) -> None:
        self._bus = bus
        self._source = source
        self._store = store
        self._wait_for_position = wait_for_position
        self._identities = identities
        self._parked = [topics.parked_events(name) for name in (source.spec.name, *source.spec.arrives_with)]
        self._records_max = records_max
        self._idle_s = idle_s
        self._counts = Counter[str]() if counts is None else counts

    async def run(self, ctx: Context) -> None:
        group = topics.source_group(self._source.spec.name, "parked-replayer")
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
                for channel in await self._connected(records):
                    await self._replay(ctx, channel)
                if records:
                    with suppress(Fenced):  # the new owner replays it again, with the same ids
                        await subscription.commit({record.topic_partition: record.offset + 1 for record in records})

    async def _connected(self, records: Sequence[Record]) -> list[Channel]:
        """The channels of these records that are connected and of a kind of this source. Raises `Unavailable`."""
        keys: dict[str, None] = {}
        for record in records:
            if not await self._wait_for_position(record.position, FOLD_S):
                raise Unavailable(f"the store did not fold {record.position} within {FOLD_S:g} s")
            keys[record.key.decode("utf-8", "replace")] = None
        found = [await self._store.channel(key) for key in keys]
        return [each for each in found if each and each.connected and self._source.spec.kind(each.source) is not None]

    async def _replay(self, ctx: Context, channel: Channel) -> None:
        account = channel.source_channel_id
        channels, identities = ConnectedChannels([channel]), self._identities()
        lookup: Channels = channels

        def step(parked: Record) -> Sequence[ProducerRecord]:
            routed = self._source.route(parked, lookup)
            identities.learn(routed.facts)
            return outputs_of(routed, parked, self._dead_letter)

        ranges = await self._parked_ranges(account)
        async with self._bus.tail({tp: start for tp, (start, _) in ranges.items()}) as tail:
            while any(tail.position(tp) < end for tp, (_, end) in ranges.items()):
                ctx.progress()
                records = await tail.fetch(records_max=self._records_max, wait_s=self._idle_s)
                matching = [record for record in records if record.key.decode("utf-8", "replace") == account]
                if matching:
                    lookup = await identities.prepare(self._source, matching, channels)
                    await apply_step(self._bus, matching, step, self._dead_letter)
                    self._counts["replayed"] += len(matching)
                    ctx.log.info("webhooks.replayed", account=account, webhooks=len(matching))

    def _dead_letter(self, parked: Record, reason: str, attempts: int) -> ProducerRecord:
        self._counts["dead_lettered"] += 1
        return dead_letter(self._as_received(parked), reason, attempts)

    def _as_received(self, parked: Record) -> Record:
        """The webhook that `parked` is a copy of, so that its dead letter is that of the router, id included."""
        origin = origin_in(parked.headers) or parked.position
        return replace(
            parked,
            topic=topics.source_events(self._source.spec.name).name,
            partition=origin.partition,
            offset=origin.offset,
            headers=tuple(header for header in parked.headers if header[0] != ORIGIN_HEADER),
        )

    async def _parked_ranges(self, account: str) -> dict[TopicPartition, tuple[int, int]]:
        starts = await self._bus.beginning_offsets(self._parked)
        ends = await self._bus.end_offsets(self._parked)
        partitions = [TopicPartition(topic.name, topic.partition(account)) for topic in self._parked]
        return {tp: (starts[tp], ends[tp]) for tp in partitions}
