"""Membership of a consumer group. Rebalances are acted on inside `fetch`, never beside it.

The client tells of them from a task of its own, and waits there for what `fetch` does about it; while it waits the
old owner has its partitions, and when it waits too long the cluster goes on without us.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition

from airy.bus.api import Fenced, Ownership
from airy.bus.kafka.client import bounded, started
from airy.bus.kafka.ends import Ends
from airy.bus.kafka.failure import GONE, MAKE
from airy.bus.kafka.gathering import gathering
from airy.bus.kafka.patience import impatient
from airy.bus.kafka.reader import KafkaReader, reading
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import TopicPartition
from airy.bus.subscription import Nobody
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable

HEARTBEATS = 10  # in a session
HEARTBEAT_S_MAX = 3.0
NEVER_MS = 2**31 - 1  # the client's own watch on us: an interrupted read makes it believe we read for ever


class KafkaSubscription(KafkaReader):
    def __init__(
        self,
        settings: KafkaSettings,
        ends: Ends,
        *,
        topics: Sequence[Topic[Any]],
        group: str,
        ownership: Ownership | None,
        rebalances: Counter[str],
    ) -> None:
        super().__init__(settings, ends)
        self._topics = topics
        self._group = group
        self._ownership: Ownership = ownership or Nobody()
        self._rebalances = rebalances
        self._owned: frozenset[TopicPartition] = frozenset()
        self._letting_go: asyncio.Event | None = None  # the client waits for it
        self._dealt: frozenset[TopicPartition] | None = None  # ours, but `fetch` has not said so yet
        self._in_revoked = False
        self._asleep = True  # nothing is read before the first fetch that wants something
        self._patience_s = settings.rebalance_s + settings.stall_s  # no filling ends while members change
        self._silence: asyncio.TimerHandle | None = None

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._owned

    async def open(self) -> None:
        settings, session_ms = self._settings, round(self._settings.session_s * 1000)
        # the answer to a join comes when the slowest member has let go: who gives up before joins for ever
        answers_ms = round((settings.rebalance_s + settings.request_s) * 1000)

        def make() -> AIOKafkaConsumer:
            consumer = AIOKafkaConsumer(
                **(reading(settings) | {"request_timeout_ms": answers_ms}),
                group_id=settings.named(self._group),
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=round(min(HEARTBEAT_S_MAX * 1000, session_ms / HEARTBEATS)),
                rebalance_timeout_ms=round(settings.rebalance_s * 1000),
                max_poll_interval_ms=NEVER_MS,
            )
            return gathering(impatient(consumer, settings.request_s), settings.gather_s)

        consumer = self._consumer = await started(make, settings)
        consumer.subscribe([settings.named(topic.name) for topic in self._topics], listener=_Listener(self))

    async def close(self) -> None:
        self._closing = True
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._letting_go is not None:
            self._letting_go.set()
        self._owned = frozenset()
        self._shelf.follow({})
        await super().close()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            return
        consumer = self._consumer
        taken = self._letting_go is not None and not self._in_revoked
        lost = offsets.keys() if taken or _expelled(consumer) else offsets.keys() - self._owned
        if lost or consumer is None:
            names = ", ".join(f"{where.topic}[{where.partition}]" for where in sorted(lost))
            raise Fenced(f"{names} belongs to another member of {self._group!r} now: stop acting on it")
        for where, offset in offsets.items():
            if offset < 0:
                raise Refused(f"{where.topic}[{where.partition}] has no offset {offset}", field="offset")
        call = consumer.commit({self.wire(where): offset for where, offset in offsets.items()})
        try:
            await bounded(call, self._settings.call_s, f"committing for {self._group!r}")
        except Exception as error:
            if isinstance(error.__cause__ or error, GONE):
                raise Fenced(f"{self._group!r} went on without this member: stop acting on what it had") from error
            raise

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Any]:
        if records_max > 0 and self._asleep:
            self._asleep = False
            self._set_awake()
        self._hear_us(True)
        try:
            return await super().fetch(records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
        finally:
            self._hear_us(False)

    def _hear_us(self, speaking: bool) -> None:
        """Who does not fetch for a session is out, however well its heart beats beside it."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if not speaking and not self._closing:
            self._silence = asyncio.get_running_loop().call_later(self._settings.session_s, self._fall_silent)

    def _fall_silent(self) -> None:
        if self._consumer is not None and self._letting_go is None:
            self._consumer._coordinator.maybe_leave_group()  # noqa: SLF001 - the client has no other word for it

    # --- in `fetch`

    async def _settle(self) -> None:
        """Act on what the group decided, until there is nothing new. Interrupted, it is told again."""
        while True:
            if self._letting_go is not None:
                if self._owned:
                    self._in_revoked = True
                    try:
                        await self._ownership.revoked(sorted(self._owned))
                    finally:
                        self._in_revoked = False
                self._owned = frozenset()
                self._shelf.follow({})
                self._failure = None
                self._asked_at = asyncio.get_running_loop().time()  # the others may take as long as we did
                letting_go, self._letting_go = self._letting_go, None
                letting_go.set()
            elif self._dealt is not None:
                await self._take_over(self._dealt)
            else:
                return

    async def _take_over(self, dealt: frozenset[TopicPartition]) -> None:
        """Ours from now on. Raises `Unavailable` while nobody says where to go on: the next fetch asks again."""
        given = await self._positions(dealt)
        consumer = self._consumer
        if consumer is None:
            self._dealt = None
        if self._dealt is not dealt or self._letting_go is not None or consumer is None:
            return  # the group went on meanwhile
        self._owned = dealt
        self._shelf.follow(given)
        for where, offset in given.items():  # what came before we knew was not kept
            consumer.seek(self.wire(where), offset)
        if given:
            await self._ownership.assigned(given)
        if self._dealt is dealt:
            self._dealt = None
            self._rebalances[self._group] += 1

    # --- in the client's task

    async def take_back(self) -> None:
        """Wait until `fetch` has let everything go. Not told more than once: the cluster's patience is the limit."""
        self._dealt = None
        if self._closing:
            return
        if self._letting_go is None:
            self._letting_go = asyncio.Event()
            self._news.set()
        await self._letting_go.wait()

    async def hand_over(self, partitions: Collection[KafkaPartition]) -> None:
        consumer = self._consumer
        if consumer is None or self._closing:
            return
        self._dealt = frozenset(self.bare(partition) for partition in partitions)
        self._set_awake()
        if not partitions and (unknown := self._unknown(consumer)):
            self._failure = Unavailable(f"there is no topic {', '.join(unknown)}; {MAKE}")
        self._news.set()

    def _unknown(self, consumer: AIOKafkaConsumer) -> list[str]:
        named = self._settings.named
        return [topic.name for topic in self._topics if consumer.partitions_for_topic(named(topic.name)) is None]

    async def _positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = sorted(partitions)
        committed = await self._ends.committed(self._group, wanted)
        new = [where for where in wanted if where not in committed]
        return dict(sorted((committed | await self._ends.starts(new)).items()))

    def _set_awake(self) -> None:
        """Those that only keep membership alive read nothing."""
        if self._consumer is None or not (assigned := self._consumer.assignment()):
            return
        if self._asleep:
            self._consumer.pause(*assigned)
        else:
            awake = [one for one in assigned if self.bare(one) not in self._shelf.paused]
            if awake:
                self._consumer.resume(*awake)


def _expelled(consumer: AIOKafkaConsumer | None) -> bool:
    """Whether the cluster has let us know that we are out: a commit then would pass as somebody without a group."""
    return consumer is None or consumer._coordinator.generation < 0  # noqa: SLF001 - the client has no other word for it


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, subscription: KafkaSubscription) -> None:
        self._subscription = subscription

    async def on_partitions_revoked(self, _: Collection[KafkaPartition]) -> None:
        await self._subscription.take_back()

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        await self._subscription.hand_over(assigned)
