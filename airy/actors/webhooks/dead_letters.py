"""Deliveries that were given up, in the log: there before the queue forgets them, and for as long as somebody may want
them made again.

The queue may lose everything at any moment; what is here it cannot lose. A wish to make one again is here, too, until
that was done, and is put into the queue as often as the queue has lost it. Decisions depend on the log and the clock
alone, so it does not matter how many dispatchers make them, or how often.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint
from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.actors.progress import Progress, current
from airy.actors.runtime import Context
from airy.actors.webhooks.queue import Entry, Job, Shard, WebhookQueue
from airy.bus.api import Bus
from airy.bus.record import Emit, Position
from airy.errors import Refused, Unavailable
from airy.model.dead import DeadDelivery
from airy.model.entity import Webhook

KEEP_MAX = 10_000  # burials, the newest
KEEP_MS = 30 * topics.DAY_MS
REASON_CHARS_MAX = 1_024
ROUND_S = 60.0
AT_ONCE_MAX = 100  # burials in one publish, or taken over at once
TOMBSTONES_MAX = 1_000  # in one publish
WISHES_MAX = 500  # looked at in one round
YOUNG_MS = 10_000  # a wish so young is being fulfilled by whoever wrote it
FOLD_S = 10.0
FORGET_S = 5.0  # what was delivered waits no longer than this for its burial to be forgotten
FORGOTTEN_MAX = 10_000
TURNS = 2  # of the event loop, to wait for company
START = (-1, "")


class Burials(Protocol):
    """What is asked of a store."""

    async def webhook(self, webhook_id: str) -> Webhook | None: ...
    async def burials(self, delivery_id: str) -> list[DeadDelivery]: ...
    async def replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]: ...
    async def old_burials(self, *, keep_max: int, before_ms: int, burials_max: int) -> list[str]: ...


class Heritage(Protocol):
    """A queue that kept the dead itself, once."""

    async def dead_of_before(self, dead_max: int) -> list[tuple[int, DeadDelivery]]: ...
    async def forget_dead_of_before(self, number: int) -> None: ...


def dead_delivery(job: Job, reason: str, now_ms: int) -> DeadDelivery:
    entry = job.entry
    where = topics.parse_position_token(entry.position)
    return DeadDelivery(
        delivery_id=job.id,
        webhook_id=job.webhook_id,
        event_id=entry.event_id,
        kind=entry.kind,
        lane=entry.lane,
        topic=where.topic,
        partition=where.partition,
        at_ms=entry.at_ms,
        attempts=job.attempt,
        reason=reason[:REASON_CHARS_MAX],
        died_at_ms=now_ms,
        body=Raw(entry.body),
        trace=entry.trace,
    )


def again(one: DeadDelivery, position: Position) -> tuple[Shard, Entry]:
    """What is put into the queue to make it again. `position` is one at which the log knows of that wish: places of
    its own a change does not keep, when the log is moved.
    """
    return Shard(one.topic, one.partition), Entry(
        id=(0, 0),
        webhook_ids=(one.webhook_id,),
        lane=one.lane,
        event_id=one.event_id,
        kind=one.kind,
        body=bytes(one.body),
        at_ms=one.at_ms,
        position=topics.position_token(position),
        trace=one.trace,
    )


def record(one: DeadDelivery) -> Emit:
    return topics.DEAD_DELIVERIES.emit(one.id, one, headers=(("id", one.id.encode()),))


def tombstone(burial_id: str) -> Emit:
    return topics.DEAD_DELIVERIES.emit(burial_id, None)


def _wished(one: DeadDelivery) -> tuple[int, int]:
    """When, and then by the change: so a lane keeps its order."""
    return one.replayed_at_ms or 0, one.at_ms


class _Group:
    """Burials that are written together."""

    __slots__ = ("emits", "error", "written")

    def __init__(self, first: Emit) -> None:
        self.emits = [first]
        self.error: Exception | None = None
        self.written = anyio.Event()


class DeadLetters:
    """`heritage` is a queue whose own dead move to the log."""

    def __init__(
        self, bus: Bus, store: Burials, progress: Progress, queue: WebhookQueue, *, heritage: Heritage | None = None
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._queue = queue
        self._heritage = heritage
        self._gathering: _Group | None = None
        self._writing = anyio.Lock()
        self._forgotten: dict[str, None] = {}  # burials that are to go, and are not yet
        self._after = START

    # --- one delivery

    async def keep(self, one: DeadDelivery) -> None:
        """It is durable when this returns. Raises `Unavailable`, or `Refused` for what no log takes."""
        emit = record(one)
        try:
            await self._publish(emit)
        except Refused:  # one of those that were written together: who knows whether this one
            await self._bus.publish([emit])

    async def made(self, ctx: Context, delivery_id: str) -> None:
        """It was made after all, or need not be: nothing of it is kept."""
        try:
            burials = await self._store.burials(delivery_id)
        except Unavailable as error:
            ctx.log.info("dead_letters.wait", error=str(error), forgotten=len(self._forgotten))
            return
        if burials:
            await self.forget(ctx, [one.id for one in burials])

    async def forget(self, ctx: Context, burial_ids: Iterable[str]) -> None:
        """At once if possible, else in a later round."""
        self._forgotten.update(dict.fromkeys(burial_ids))
        for burial_id in list(self._forgotten)[: max(0, len(self._forgotten) - FORGOTTEN_MAX)]:
            del self._forgotten[burial_id]
        try:
            with anyio.fail_after(FORGET_S):
                await self._forget()
        except (Unavailable, TimeoutError) as error:
            ctx.log.info("dead_letters.wait", error=str(error), forgotten=len(self._forgotten))

    async def _forget(self) -> None:
        while self._forgotten:
            some = list(self._forgotten)[:TOMBSTONES_MAX]
            await self._bus.publish([tombstone(burial_id) for burial_id in some])
            for burial_id in some:
                self._forgotten.pop(burial_id, None)

    async def _publish(self, emit: Emit) -> None:
        """With what others bury at about the same time. While one publish is under way, the next group gathers."""
        group = self._gathering
        if group is not None and len(group.emits) < AT_ONCE_MAX:
            group.emits.append(emit)
            await group.written.wait()
        else:
            group = self._gathering = _Group(emit)
            await self._write(group)
        if group.error is not None:
            raise group.error

    async def _write(self, group: _Group) -> None:
        group.error = Unavailable("nobody knows whether the burial is in the log")  # as long as nobody does
        try:
            for _ in range(TURNS):
                await checkpoint()
            async with self._writing:
                self._close(group)
                await self._bus.publish(group.emits)
            group.error = None
        except Exception as error:  # noqa: BLE001 - everybody in the group raises it
            group.error = error
        finally:
            self._close(group)
            group.written.set()

    def _close(self, group: _Group) -> None:
        if self._gathering is group:
            self._gathering = None

    # --- all of them, now and then

    async def run(self, ctx: Context) -> None:
        while True:
            try:
                await self.round(ctx, ctx.clock.now_ms())
            except Unavailable as error:
                ctx.log.info("dead_letters.wait", error=str(error), forgotten=len(self._forgotten))
            await anyio.sleep(ROUND_S)

    async def round(self, ctx: Context, now_ms: int) -> None:
        await self._inherit(ctx)
        await self._forget()
        await self._make_again(ctx, now_ms)
        old = await self._store.old_burials(keep_max=KEEP_MAX, before_ms=now_ms - KEEP_MS, burials_max=TOMBSTONES_MAX)
        if old:
            ctx.log.info("dead_letters.pruned", burials=len(old))
            await self._bus.publish([tombstone(burial_id) for burial_id in old])

    async def _make_again(self, ctx: Context, now_ms: int) -> None:
        """Whatever is to be made again is in the queue, whatever became of the queue meanwhile."""
        if not await self._wishes():
            self._after = START
            return
        await self._current()  # what somebody else has made by now must not be made once more
        wishes = await self._wishes()
        for one in sorted(wishes, key=_wished):
            if _wished(one)[0] <= now_ms - YOUNG_MS:
                await self._fulfil(ctx, one, now_ms)
        self._after = START if len(wishes) < WISHES_MAX else (_wished(wishes[-1])[0], wishes[-1].id)

    async def _wishes(self) -> Sequence[DeadDelivery]:
        return await self._store.replays(after=self._after, replays_max=WISHES_MAX)

    async def _fulfil(self, ctx: Context, one: DeadDelivery, now_ms: int) -> None:
        webhook = await self._store.webhook(one.webhook_id)
        if webhook is None or webhook.status != "Subscribed":  # nothing is sent there: so it is as dead as before
            await self._bus.publish([record(replace(one, replayed_at_ms=None))])
            return
        where = topics.DEAD_DELIVERIES.where[topics.DEAD_DELIVERIES.partition(one.id)]
        position = Position(*where, self._progress.positions()[where] - 1)
        shard, entry = again(one, position)
        if await self._queue.replay(shard, entry, now_ms=now_ms):
            ctx.log.info("delivery.put_again", delivery_id=one.delivery_id, webhook_id=one.webhook_id)

    async def _current(self) -> None:
        """Once the store has folded every burial of this moment. Raises `Unavailable` if it does not get there."""
        if not await current(self._bus, self._progress, [topics.DEAD_DELIVERIES], FOLD_S):
            raise Unavailable(f"the store did not fold what was buried within {FOLD_S:g} s")

    async def _inherit(self, ctx: Context) -> None:
        """Told twice is told once: a burial has the same id each time."""
        while self._heritage is not None:
            found = await self._heritage.dead_of_before(AT_ONCE_MAX)
            if not found:
                self._heritage = None
                return
            for alone in await self._refused([one for _, one in found]):
                ctx.log.error("delivery.burial_refused", delivery_id=alone.delivery_id, webhook_id=alone.webhook_id)
            await self._heritage.forget_dead_of_before(found[-1][0])

    async def _refused(self, burials: Sequence[DeadDelivery]) -> list[DeadDelivery]:
        """Write them; returns those that no log takes."""
        try:
            await self._bus.publish([record(one) for one in burials])
        except Refused:
            if len(burials) == 1:
                return list(burials)
            return [one for each in burials for one in await self._refused([each])]
        return []
