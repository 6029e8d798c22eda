"""Two replicas of the API and clients of their events, which reconnect through either of them, in virtual time.

Clients of the API write meanwhile; replicas are killed, stopped, paused and slowed, and lose their stores. Each event
client keeps the token of what it received last, in one text, as a browser does.
"""

from random import Random
from typing import Any

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from airy import topics
from airy.actors.broadcaster import Broadcaster
from airy.actors.change_feed import ChangeFeed, SlowClient
from airy.actors.feed_position import PARTITIONS, decode
from airy.actors.feed_subscriber import FeedEvent, FeedItem, FeedLimits, FeedMark, FeedScope, MarkKind
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.app.services import Services
from airy.bus.record import TopicPartition
from airy.components import PublisherSection
from airy.errors import Unavailable
from airy.model.change import ChangeKind
from airy.store.api import StoredChange
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.sim.cluster import EDGE, SimulatedNode
from tests.sim.event_history import EventHistory, Received
from tests.sim.replica_simulation import QUIESCENT_WITHIN_S, ReplicaSimulation, ReplicaSize

COMPONENTS = EDGE | {"api-websocket"}
SIZE = ReplicaSize(steps=12, receives=20, disruptions=6)
SHORT_WINDOW_S = 1.0  # in every fourth seed: positions grow too old while clients are away
LIMITS = FeedLimits(queue_items_max=4, checkpoint_s=0.5, fold_s_max=2.0, send_s_max=3.0, behind_s_max=30.0)
SCOPES = (
    FeedScope(),
    FeedScope(),
    FeedScope(kinds=frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.METADATA_UPDATED})),
)


class LateBroadcaster(Broadcaster):
    """Falls behind the fold at times, so that clients are ahead of it in some partitions."""

    def __init__(self, *arguments: Any, random: Random, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._random = random

    async def _watch_fold(self) -> None:
        version = -1
        while True:
            version = await self._progress.wait_for_progress(version, 5.0)
            if self._random.random() < 0.5:
                await anyio.sleep(self._random.uniform(0.0, 2.0))
            await self._notice_fold()

    async def _broadcast_partition(self, ctx: Context, index: int, folded_to: int) -> None:
        if self._random.random() < 0.3:
            await anyio.sleep(self._random.uniform(0.0, 2.0))
        await super()._broadcast_partition(ctx, index, folded_to)


class LateFeed(ChangeFeed):
    def __init__(self, feed: ChangeFeed, random: Random) -> None:
        super().__init__(feed.bus, feed.store, feed.progress, limits=LIMITS)
        self._random = random

    def broadcaster(self) -> Broadcaster:
        super().broadcaster()  # a new epoch
        return LateBroadcaster(
            self.store,
            self.progress,
            self.log_epoch,
            self.mailbox,
            checkpoint_s=LIMITS.checkpoint_s,
            sends=self._sends,
            times=self.times,
            random=self._random,
        )


class EventClient(Struct):
    """`patience_s` bounds a session; `delay_s` is the longest time it takes to read one event."""

    name: str
    scope: FeedScope
    random: Random
    delay_s: float = 0.0
    token: str | None = None
    history: EventHistory = field(default_factory=EventHistory)

    async def session(self, feed: ChangeFeed, for_s: float) -> None:
        self.history.connect()
        with anyio.move_on_after(for_s):
            try:
                await feed.follow(self.scope, decode(self.token) if self.token else None, self._deliver)
            except SlowClient:
                self.history.slow += 1
            except Unavailable:
                self.history.unavailable += 1

    async def _deliver(self, item: FeedItem) -> None:
        if self.delay_s and self.random.random() < 0.3:
            await anyio.sleep(self.random.uniform(0.0, self.delay_s))
        if isinstance(item, FeedEvent):
            stored = item.stored
            self.history.add(Received(stored.position.topic_partition, item.change_id, stored.change.id))
        elif isinstance(item, FeedMark) and item.kind is not MarkKind.POSITION:
            self.history.mark(item.kind is MarkKind.RESYNC, item.position)
        self.token = item.resume


class EventSimulation(ReplicaSimulation):
    """`run` fills `event_clients` and `changes`, all changes of the log by an independent fold."""

    def __init__(self, seed: int, size: ReplicaSize = SIZE) -> None:
        super().__init__(seed, size)
        self.nodes = [SimulatedNode(self, number, COMPONENTS) for number in range(len(self.nodes))]  # type: ignore[arg-type]
        self.short_window = seed % 4 == 3
        if self.short_window:
            window = replace(self.config.data, resume_window_s=SHORT_WINDOW_S)
            self.config = replace(self.config, data=window).with_sections(PublisherSection(enabled=False))
        self.event_clients = [
            EventClient(f"e{number}", scope, Random(f"events {number} of {seed}"), delay_s=(0.0, 0.3, 8.0)[number])
            for number, scope in enumerate(SCOPES)
        ]
        self.changes: dict[TopicPartition, list[StoredChange]] = {}
        self._finished = False

    def build_services(self, node: SimulatedNode) -> Services:
        services = super().build_services(node)
        services.changes = LateFeed(services.changes, node.random)
        return services

    async def _disrupt(self) -> None:
        async with anyio.create_task_group() as tasks:
            for client in self.event_clients:
                tasks.start_soon(self._receive_events, client)
            await super()._disrupt()
            self._finished = True

    async def _receive_events(self, client: EventClient) -> None:
        """Session after session, at a replica chosen anew each time."""
        while not self._finished:
            await self._session(client, client.random.choice((0.5, 2.0, 6.0)))
            await anyio.sleep(client.random.choice((0.0, 0.1, 1.0, 12.0 if self.short_window else 2.0)))

    async def _receive_more(self, chats: list[Chat]) -> None:
        """Over a time in which the changes of short windows are pruned."""
        for number in range(1, self.size.receives):
            await anyio.sleep(self.random.uniform(0.0, 4.0 if self.short_window else 1.0))
            await self._receive(self.random.choice(chats), number)

    async def _session(self, client: EventClient, for_s: float) -> None:
        node = client.random.choice(self.nodes)
        process = node.process
        if process is None or not node.ready:
            await anyio.sleep(0.1)
            return
        await process.call(lambda: client.session(process.services.changes, for_s))

    async def _read_finally(self, clients: list, conversations: list[str]) -> None:  # type: ignore[type-arg]
        await super()._read_finally(clients, conversations)
        if not self.quiescent:
            return
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            ends = await self.bus.end_offsets(topics.CHANGE_TOPICS)
            for client in self.event_clients:
                client.delay_s = 0.0
                while not _has_reached(client, ends):
                    await self._session(client, 5.0)
        self.quiescent = not limit.cancelled_caught
        await self._fold_independently()

    async def _fold_independently(self) -> None:
        store = SqliteStore(":memory:")
        await store.open()
        projector = Projector(self.bus, store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run, Context("reference", clock=self.clock, random=Random(0)))
            while not projector.caught_up:
                await anyio.sleep(0.1)
            for tp in PARTITIONS:
                self.changes[tp] = await store.changes(tp, after=(-1, -1), changes_max=100_000)
            tasks.cancel_scope.cancel()
        await store.close()

    def violations(self) -> list[str]:
        found = []
        for client in self.event_clients:
            expected = {
                tp: [
                    Received(tp, (each.position.offset, each.nth), each.change.id)
                    for each in changes
                    if client.scope.contains(each.change)
                ]
                for tp, changes in self.changes.items()
            }
            found += [f"{client.name}: {line}" for line in client.history.violations(expected)]
            if client.history.resyncs and not self.short_window:
                found.append(f"{client.name}: a resync although nothing was pruned")
        return found


def _has_reached(client: EventClient, ends: dict[TopicPartition, int]) -> bool:
    token = decode(client.token) if client.token else None
    return token is not None and all(
        offset >= ends[tp] for tp, offset in zip(PARTITIONS, token.position.offsets, strict=True)
    )
