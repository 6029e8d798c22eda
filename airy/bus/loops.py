"""The loop of a transform: records in, records out; offsets are committed after the outputs are durable.

A step is a pure function. A record it cannot use becomes a dead letter with its bytes, so that one poison record
delays no other. A crash at any point repeats some steps; their outputs carry the same ids, so readers drop them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from airy.bus.api import Bus, Fenced, Subscription
from airy.bus.draining_fetch import draining_fetch
from airy.bus.record import ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable
from airy.lifecycle import Lifecycle

Step = Callable[[Record], Sequence[ProducerRecord]]
"""Pure. Raises `Refused` for a record that can never be used, `Unavailable` for one that cannot be judged yet."""

MakeDeadLetter = Callable[[Record, str, int], ProducerRecord]
"""From a record, the reason and the number of attempts: the record for its dead letter topic."""

Before = Callable[[Sequence[Record]], Awaitable[None]]
"""Called with a batch before its first step: brings what the steps read up to date."""

After = Callable[[], Awaitable[None]]
"""Called when the outputs of a batch are durable, before the commit."""

ATTEMPTS_MAX: Final = 3
YIELD_RECORDS: Final = 100  # steps between two yields to the event loop
YIELD_BYTES: Final = 65_536  # of their records


async def transform(
    bus: Bus,
    lifecycle: Lifecycle,
    topics: Sequence[Topic[Any]],
    *,
    group: str,
    step: Step,
    dead_letter: MakeDeadLetter,
    before: Before | None = None,
    after: After | None = None,
    records_max: int = 500,
    bytes_max: int = 4_194_304,
    fetch_wait_s: float = 5.0,
    commit_s: float = 1.0,
    commit_records_max: int = 1_000,
) -> None:
    """Runs until draining. Raises `Unavailable` with nothing of the batch committed: run it again later."""
    tracker = OffsetTracker()
    async with (
        bus.subscribe(topics, group=group, listener=tracker) as subscription,
        draining_fetch(lifecycle) as fetcher,
    ):
        tracker.subscription = subscription
        lifecycle.ready()
        while not lifecycle.draining.is_set():
            wait_s = max(0.0, min(fetch_wait_s, tracker.oldest_at + commit_s - anyio.current_time()))
            records = await fetcher.fetch(subscription, records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
            if records:
                if before is not None:
                    await before(records)
                await apply_step(bus, records, step, dead_letter)
                if after is not None:
                    await after()
                tracker.finish(records)
            if tracker.due(commit_s, commit_records_max):
                await tracker.commit()
            lifecycle.progress()
        await tracker.commit()


async def apply_step(bus: Bus, records: Sequence[Record], step: Step, dead_letter: MakeDeadLetter) -> None:
    """Publishes the outputs of a step over records, or the dead letter of a record it cannot use. Raises
    `Unavailable`.
    """
    await _publish(bus, await _outputs(records, step, dead_letter), dead_letter)


class OffsetTracker:
    """Offsets that are finished and not committed yet. On a rebalance they are committed before partitions are revoked.

    A batch is fetched in order and finished as a whole, so its end is always the end of a contiguous prefix.
    """

    subscription: Subscription

    def __init__(self) -> None:
        self.oldest_at = float("inf")
        self._offsets: dict[TopicPartition, int] = {}
        self._records = 0

    def finish(self, records: Sequence[Record]) -> None:
        if not self._offsets:
            self.oldest_at = anyio.current_time()
        self._offsets |= {record.topic_partition: record.offset + 1 for record in records}
        self._records += len(records)

    def due(self, commit_s: float, records_max: int) -> bool:
        return self._records >= records_max or anyio.current_time() >= self.oldest_at + commit_s

    async def commit(self) -> None:
        offsets = self._offsets
        self._offsets, self._records, self.oldest_at = {}, 0, float("inf")
        if offsets:
            with suppress(Fenced):  # the new owner repeats these records, with the same ids
                await self.subscription.commit(offsets)

    async def on_assigned(self, _: Mapping[TopicPartition, int]) -> None: ...
    async def on_revoked(self, _: Iterable[TopicPartition]) -> None:
        with suppress(Unavailable):  # the new owner repeats these records; the rebalance must go on
            await self.commit()


async def _outputs(
    records: Sequence[Record], step: Step, dead_letter: MakeDeadLetter
) -> list[tuple[Record, Sequence[ProducerRecord]]]:
    outputs = []
    steps = size = 0
    for record in records:
        outputs.append((record, _try(record, step, dead_letter)))
        steps, size = steps + 1, size + len(record.value or b"")
        if steps >= YIELD_RECORDS or size >= YIELD_BYTES:
            steps = size = 0
            await checkpoint()
    return outputs


def _try(record: Record, step: Step, dead_letter: MakeDeadLetter) -> Sequence[ProducerRecord]:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return step(record)
        except Unavailable:
            raise
        except Refused as error:
            return [dead_letter(record, str(error), attempt)]
        except Exception as error:  # noqa: BLE001 - a bug in a step must not stop every conversation behind it
            reason = f"{type(error).__name__}: {error}"
    return [dead_letter(record, reason, ATTEMPTS_MAX)]


async def _publish(
    bus: Bus, outputs: Sequence[tuple[Record, Sequence[ProducerRecord]]], dead_letter: MakeDeadLetter
) -> None:
    """All outputs at once. If that is refused, per input record, so that only the cause becomes a dead letter."""
    try:
        await bus.publish([output for _, produced in outputs for output in produced])
    except Refused:
        for record, produced in outputs:
            try:
                await bus.publish(produced)
            except Refused as error:
                await bus.publish([dead_letter(record, str(error), 1)])
