"""An effect per change: what a reader needs that does something with each change, in order per partition.

The type of an error decides: `Unavailable` is retried after a back-off, `Refused` becomes a dead letter, anything else
is retried a bounded number of times and then crashes the actor into its supervisor.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

from airy.actors.change_delivery import ChangeDelivery
from airy.actors.change_sink import AssignedPartition, ChangeBatch, ChangeId, Commit, ReaderLimits, Rebuild
from airy.actors.fold_progress import FoldProgress
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.dead_letter import TOPIC_PREFIX, make_dead_letter
from airy.bus.record import ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.change_readers import ReaderSpec
from airy.errors import Refused, Unavailable
from airy.store.api import ChangeReader, StoredChange

ATTEMPTS_MAX = 3  # of a change whose effect raises neither `Unavailable` nor `Refused`

Effect = Callable[[StoredChange], Awaitable[None]]


async def deliver(
    ctx: Context,
    reader: ReaderSpec,
    effect: Effect,
    *,
    bus: Bus,
    store: ChangeReader,
    progress: FoldProgress,
    dead_letters: Topic[bytes],
    rebuild: Rebuild,
    limits: ReaderLimits | None = None,
) -> None:
    """Calls `effect` for each change of the reader's kinds, at least once and in order per partition, until draining.

    `effect` bounds its own time. `dead_letters` receives the changes it refuses.
    """
    sink = EffectSink(bus, reader, effect, dead_letters)
    await ChangeDelivery(bus, store, progress, reader, sink, rebuild=rebuild, limits=limits).run(ctx)


class EffectSink:
    position_check_s = float("inf")  # nothing but this loop moves the position

    def __init__(self, bus: Bus, reader: ReaderSpec, effect: Effect, dead_letters: Topic[bytes]) -> None:
        self._bus = bus
        self._reader = reader
        self._effect = effect
        self._dead_letters = dead_letters
        self._attempts = Counter[str]()  # failed ones, by the id of the change

    def on_assigned(self, partitions: Iterable[TopicPartition]) -> None: ...

    async def positions(
        self, ctx: Context, assigned: Mapping[TopicPartition, AssignedPartition], commit: Commit
    ) -> Mapping[TopicPartition, ChangeId]:
        del ctx, commit
        return {tp: each.position or (each.committed, -1) for tp, each in assigned.items()}

    async def deliver(self, ctx: Context, batch: ChangeBatch) -> None:
        assigned = batch.assigned
        for stored in batch.changes:
            if assigned.revoked or ctx.draining.is_set():
                return
            await self._apply(ctx, stored)
            self._attempts.pop(stored.change.id, None)
            assigned.position = (stored.position.offset, stored.nth)
        assigned.position = batch.last

    async def _apply(self, ctx: Context, stored: StoredChange) -> None:
        try:
            await self._effect(stored)
        except Unavailable:
            raise
        except Refused as error:
            await self._bus.publish([dead_letter(self._dead_letters, stored, str(error))])
            fields = {"reader": self._reader.name, "change_id": stored.change.id}
            ctx.log.warning("change_reader.change_refused", error=str(error), **fields)
        except Exception as error:
            self._attempts[stored.change.id] += 1
            if self._attempts[stored.change.id] >= ATTEMPTS_MAX:
                raise
            message = f"the effect of change {stored.change.id} failed with {type(error).__name__}: {error}"
            raise Unavailable(message) from error

    async def finished(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> Mapping[TopicPartition, int]:
        return {
            tp: each.position[0] if each.drained_to is None else max(each.position[0], each.drained_to)
            for tp, each in assigned.items()
            if each.position is not None
        }

    def log_delay(self, ctx: Context, error: Unavailable) -> None:
        ctx.log.warning("change_reader.delayed", reader=self._reader.name, error=str(error))


def dead_letter(topic: Topic[bytes], stored: StoredChange, reason: str) -> ProducerRecord:
    """A refused change in the format of all dead letters: as a record of the reader, not of the topic whose record
    caused the change, because a replay must not append it there.
    """
    change, position = stored.change, stored.position
    refused = Record(
        topic=topic.name.removeprefix(TOPIC_PREFIX),
        partition=position.partition,
        offset=position.offset,
        key=change.lane.encode(),
        value=change.body,
        headers=(
            ("id", change.id.encode()),
            ("kind", change.kind.value.encode()),
            ("caused-by", position.topic.encode()),
            ("nth", b"%d" % stored.nth),
        ),
        timestamp_ms=change.at_ms,
    )
    return make_dead_letter(topic, refused, reason, attempts=1)
