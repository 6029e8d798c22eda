"""The loop of a transform: records in, records out, and the position only after the output is durable.

A step decides and waits for nothing. What it cannot use goes to a dead letter with its bytes, so that one poison
record delays nobody. Crashing anywhere repeats some steps; their outputs carry the same ids, so nothing else does.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from airy.bus.api import Bus, Fenced, Pulse, Subscription
from airy.bus.idle import idling
from airy.bus.record import Emit, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable

Step = Callable[[Record], Sequence[Emit]]
"""Pure. Raises `Refused` for what can never be used, `Unavailable` when it cannot know yet."""

DeadLetter = Callable[[Record, str, int], Emit]
"""The record, why, and how often it was tried, as a record of its dead letter topic: see `origin`."""

After = Callable[[], Awaitable[Sequence[Emit] | None]]
"""Called when the outputs of a batch are durable; what it returns is published too, before the commit."""

REASON_BYTES_MAX: Final = 1_024
TRIES_MAX: Final = 3
YIELD_RECORDS: Final = 100


def origin(record: Record, reason: str, attempts: int) -> tuple[tuple[str, bytes], ...]:
    """The headers of a dead letter: its own, why it died, and where it is."""
    return (
        *record.headers,
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("reason", reason.encode("utf-8", "replace")[:REASON_BYTES_MAX]),
        ("attempts", b"%d" % attempts),
    )


async def transform(
    bus: Bus,
    pulse: Pulse,
    topics: Sequence[Topic[Any]],
    *,
    group: str,
    step: Step,
    dead_letter: DeadLetter,
    after: After | None = None,
    records_max: int = 500,
    bytes_max: int = 4_194_304,
    idle_s: float = 5.0,
    commit_s: float = 1.0,
    commit_records_max: int = 1_000,
) -> None:
    """Until draining. Raises `Unavailable` with nothing of the batch committed: run it again later."""
    ledger = Ledger()
    async with bus.subscribe(topics, group=group, ownership=ledger) as subscription, idling(pulse) as idle:
        ledger.subscription = subscription
        pulse.ready()
        while not pulse.draining.is_set():
            wait_s = max(0.0, min(idle_s, ledger.dirty_since + commit_s - anyio.current_time()))
            records = await idle.fetch(subscription, records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
            if records:
                await _publish(bus, await _outputs(records, step, dead_letter), dead_letter)
                if after is not None and (more := await after()):
                    await bus.publish(more)
                ledger.finished(records)
            if ledger.due(commit_s, commit_records_max):
                await ledger.commit()
            pulse.progress()
        await ledger.commit()


class Ledger:
    """What is finished and not committed yet. On a rebalance it is committed before the partitions go.

    A batch is fetched in order and finished as a whole, so its end is always the end of a contiguous prefix.
    """

    subscription: Subscription

    def __init__(self) -> None:
        self.dirty_since = float("inf")
        self._offsets: dict[TopicPartition, int] = {}
        self._records = 0

    def finished(self, records: Sequence[Record]) -> None:
        if not self._offsets:
            self.dirty_since = anyio.current_time()
        self._offsets |= {record.where: record.offset + 1 for record in records}
        self._records += len(records)

    def due(self, commit_s: float, records_max: int) -> bool:
        return self._records >= records_max or anyio.current_time() >= self.dirty_since + commit_s

    async def commit(self) -> None:
        offsets = self._offsets
        self._offsets, self._records, self.dirty_since = {}, 0, float("inf")
        if offsets:
            with suppress(Fenced):  # the new owner repeats what we finished, under the same ids
                await self.subscription.commit(offsets)

    async def assigned(self, _: Mapping[TopicPartition, int]) -> None: ...
    async def revoked(self, _: Iterable[TopicPartition]) -> None:
        with suppress(Unavailable):  # as above; and the rebalance must go on
            await self.commit()


async def _outputs(
    records: Sequence[Record], step: Step, dead_letter: DeadLetter
) -> list[tuple[Record, Sequence[Emit]]]:
    outputs = []
    for number, record in enumerate(records, 1):
        outputs.append((record, _try(record, step, dead_letter)))
        if number % YIELD_RECORDS == 0:
            await checkpoint()
    return outputs


def _try(record: Record, step: Step, dead_letter: DeadLetter) -> Sequence[Emit]:
    for attempt in range(1, TRIES_MAX + 1):
        try:
            return step(record)
        except Unavailable:
            raise
        except Refused as error:
            return [dead_letter(record, str(error), attempt)]
        except Exception as error:  # noqa: BLE001 - a bug in a step must not stop every conversation behind it
            reason = f"{type(error).__name__}: {error}"
    return [dead_letter(record, reason, TRIES_MAX)]


async def _publish(bus: Bus, outputs: Sequence[tuple[Record, Sequence[Emit]]], dead_letter: DeadLetter) -> None:
    """All at once; when something of it is refused, one by one, so that only its cause becomes a dead letter."""
    try:
        await bus.publish([emit for _, emits in outputs for emit in emits])
    except Refused:
        for record, emits in outputs:
            try:
                await bus.publish(emits)
            except Refused as error:
                await bus.publish([dead_letter(record, str(error), 1)])
