"""Membership of a consumer group. Rebalances are acted on inside `fetch`, never beside it.

The client reports a rebalance from a task of its own, which waits until `fetch` has acted on it. While it waits the
member keeps its partitions; when it waits longer than the group allows, the group goes on without the member.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition

from airy.bus.api import Fenced, NoRebalanceListener, RebalanceListener
from airy.bus.kafka.client import connect, with_deadline
from airy.bus.kafka.errors import APPLY_TOPICS, FENCED
from airy.bus.kafka.fetch_pacing import with_fetch_delay
from airy.bus.kafka.offsets import OffsetQueries
from airy.bus.kafka.reader import KafkaReader, consumer_options
from airy.bus.kafka.request_timeouts import with_request_timeout
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable

HEARTBEATS = 10  # per session
HEARTBEAT_S_MAX = 3.0
NEVER_MS = 2**31 - 1  # disables the client's own poll check, which an interrupted poll would trigger


class KafkaSubscription(KafkaReader):
    def __init__(
        self,
        settings: KafkaSettings,
        offsets: OffsetQueries,
        *,
        topics: Sequence[Topic[Any]],
        group: str,
        listener: RebalanceListener | None,
        rebalances: Counter[str],
    ) -> None:
        super().__init__(settings, offsets)
        self._topics = topics
        self._group = group
        self._listener: RebalanceListener = listener or NoRebalanceListener()
        self._rebalances = rebalances
        self._owned: frozenset[TopicPartition] = frozenset()
        self._revocation: asyncio.Event | None = None  # the client waits for it
        self._assigned: frozenset[TopicPartition] | None = None  # by the group; `fetch` has not acted on it yet
        self._in_on_revoked = False
        self._suspended = True  # nothing is polled before the first fetch that wants records
        self._poll_s_max = settings.rebalance_s + settings.stall_s  # polls do not return during a rebalance
        self._session_timer: asyncio.TimerHandle | None = None

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._owned

    async def open(self) -> None:
        settings, session_ms = self._settings, round(self._settings.session_s * 1000)
        # a join is answered when the slowest member has given up its partitions: a shorter time-out never joins
        join_ms = round((settings.rebalance_s + settings.request_s) * 1000)

        def make() -> AIOKafkaConsumer:
            consumer = AIOKafkaConsumer(
                **(consumer_options(settings) | {"request_timeout_ms": join_ms}),
                group_id=settings.wire_name(self._group),
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=round(min(HEARTBEAT_S_MAX * 1000, session_ms / HEARTBEATS)),
                rebalance_timeout_ms=round(settings.rebalance_s * 1000),
                max_poll_interval_ms=NEVER_MS,
            )
            return with_fetch_delay(with_request_timeout(consumer, settings.request_s), settings.fetch_delay_s)

        consumer = self._consumer = await connect(make, settings)
        consumer.subscribe([settings.wire_name(topic.name) for topic in self._topics], listener=_Listener(self))

    async def close(self) -> None:
        self._closing = True
        self._disarm_session_timer()
        if self._revocation is not None:
            self._revocation.set()
        self._owned = frozenset()
        self._buffer.follow({})
        await super().close()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            return
        consumer = self._consumer
        revoked = self._revocation is not None and not self._in_on_revoked
        lost = offsets.keys() if revoked or _expelled(consumer) else offsets.keys() - self._owned
        if lost or consumer is None:
            names = ", ".join(f"{tp.topic}[{tp.partition}]" for tp in sorted(lost))
            raise Fenced(f"{names} belongs to another member of {self._group!r} now: stop acting on it")
        for tp, offset in offsets.items():
            if offset < 0:
                raise Refused(f"{tp.topic}[{tp.partition}] has no offset {offset}", field="offset")
        call = consumer.commit({self.to_wire(tp): offset for tp, offset in offsets.items()})
        try:
            await with_deadline(call, self._settings.call_s, f"committing for {self._group!r}")
        except Exception as error:
            if isinstance(error.__cause__ or error, FENCED):
                raise Fenced(f"{self._group!r} went on without this member: stop acting on its partitions") from error
            raise

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        if records_max > 0 and self._suspended:
            self._suspended = False
            self._pause_or_resume()
        self._disarm_session_timer()
        try:
            return await super().fetch(records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
        finally:
            self._arm_session_timer()

    def _arm_session_timer(self) -> None:
        """Leave the group when `fetch` has not been called for `session_s`, even if heartbeats still succeed."""
        self._disarm_session_timer()
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._session_timer = loop.call_later(self._settings.session_s, self._session_expired)

    def _disarm_session_timer(self) -> None:
        if self._session_timer is not None:
            self._session_timer.cancel()
            self._session_timer = None

    def _session_expired(self) -> None:
        if self._consumer is not None and self._revocation is None:
            self._consumer._coordinator.maybe_leave_group()  # noqa: SLF001 - the client has no public call for it

    # --- inside `fetch`

    async def _before_take(self) -> None:
        """Act on the decisions of the group until none is left. When interrupted, the listener is called again."""
        while True:
            if self._revocation is not None:
                if self._owned:
                    self._in_on_revoked = True
                    try:
                        await self._listener.on_revoked(sorted(self._owned))
                    finally:
                        self._in_on_revoked = False
                self._owned = frozenset()
                self._buffer.follow({})
                self._failure = None
                self._polled_at = asyncio.get_running_loop().time()  # other members may take as long as this one did
                revocation, self._revocation = self._revocation, None
                revocation.set()
            elif self._assigned is not None:
                await self._accept(self._assigned)
            else:
                return

    async def _accept(self, assigned: frozenset[TopicPartition]) -> None:
        """Own these from now on. Raises `Unavailable` while their offsets are unknown: the next fetch asks again."""
        positions = await self._positions(assigned)
        consumer = self._consumer
        if consumer is None:
            self._assigned = None
        if self._assigned is not assigned or self._revocation is not None or consumer is None:
            return  # another rebalance began meanwhile
        self._owned = assigned
        self._buffer.follow(positions)
        for tp, offset in positions.items():  # records polled before this point were discarded
            consumer.seek(self.to_wire(tp), offset)
        if positions:
            await self._listener.on_assigned(positions)
        if self._assigned is assigned:
            self._assigned = None
            self._rebalances[self._group] += 1

    # --- inside the client's task

    async def on_revoked(self) -> None:
        """Wait until `fetch` has given up all partitions. The group limits how long it waits for that."""
        self._assigned = None
        if self._closing:
            return
        if self._revocation is None:
            self._revocation = asyncio.Event()
            self._wakeup.set()
        await self._revocation.wait()

    async def on_assigned(self, partitions: Collection[KafkaPartition]) -> None:
        consumer = self._consumer
        if consumer is None or self._closing:
            return
        self._assigned = frozenset(self.from_wire(partition) for partition in partitions)
        self._pause_or_resume()
        if not partitions and (unknown := self._unknown(consumer)):
            self._failure = Unavailable(f"there is no topic {', '.join(unknown)}; {APPLY_TOPICS}")
        self._wakeup.set()

    def _unknown(self, consumer: AIOKafkaConsumer) -> list[str]:
        wire_name = self._settings.wire_name
        return [topic.name for topic in self._topics if consumer.partitions_for_topic(wire_name(topic.name)) is None]

    async def _positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = sorted(partitions)
        committed = await self._offsets.committed(self._group, wanted)
        new = [tp for tp in wanted if tp not in committed]
        return dict(sorted((committed | await self._offsets.beginning(new)).items()))

    def _pause_or_resume(self) -> None:
        """While suspended the client polls nothing; afterwards it polls what the caller has not paused."""
        if self._consumer is None or not (assigned := self._consumer.assignment()):
            return
        if self._suspended:
            self._consumer.pause(*assigned)
        else:
            active = [each for each in assigned if self.from_wire(each) not in self._buffer.paused]
            if active:
                self._consumer.resume(*active)


def _expelled(consumer: AIOKafkaConsumer | None) -> bool:
    """Whether the client has left the group: its commits would be accepted as those of a consumer without a group."""
    return consumer is None or consumer._coordinator.generation < 0  # noqa: SLF001 - the client has no public call for it


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, subscription: KafkaSubscription) -> None:
        self._subscription = subscription

    async def on_partitions_revoked(self, _: Collection[KafkaPartition]) -> None:
        await self._subscription.on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        await self._subscription.on_assigned(assigned)
