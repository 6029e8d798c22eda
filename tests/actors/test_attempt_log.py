"""The record of attempts: batches, bounds, and an unavailable log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from airy.actors import attempt_log as module
from airy.actors.attempt_log import KEPT_CHARS_MAX, AttemptLog
from airy.bus.memory import Faults, MemoryBus
from airy.bus.record import Position, ProducerRecord
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import ATTEMPTS_MAX
from airy.queue.sqlite import SqliteQueue
from tests.kit.webhooks import Outbox, attempts, context, logged


def attempt(number: int, *, response: str = "") -> DeliveryAttempt:
    return DeliveryAttempt(
        id=f"event {number}:a",
        webhook_id="a",
        event_id=f"event {number}",
        kind="message.created",
        attempt=1,
        at_ms=number,
        took_ms=1,
        result="delivered",
        status=200,
        response=response,
    )


@asynccontextmanager
async def opened_queue() -> AsyncIterator[SqliteQueue]:
    queue = SqliteQueue()
    await queue.open()
    yield queue
    await queue.close()


async def recorded(outbox: Outbox) -> list[int]:
    return [one.at_ms for one in await attempts(outbox.bus)]


async def test_attempts_are_published_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    async with logged() as outbox, opened_queue() as queue, anyio.create_task_group() as tasks:
        sizes: list[int] = []
        publish = MemoryBus.publish

        async def counted(bus: MemoryBus, records: list[ProducerRecord]) -> list[Position]:
            sizes.append(len(records))
            return await publish(bus, records)

        monkeypatch.setattr(MemoryBus, "publish", counted)
        record = AttemptLog(outbox.bus, queue)
        tasks.start_soon(record.run, context("attempts", clock=outbox.clock))
        for number in range(700):
            record.add(attempt(number))
        await anyio.sleep(1)
        assert (await recorded(outbox), sizes) == (list(range(700)), [500, 200])
        record.add(attempt(700, response="x" * 1_000))
        await anyio.sleep(1)
        ((newest, *rest),) = await queue.attempts(["a"], attempts_max=1_000)
        assert (newest.at_ms, newest.response, len(rest)) == (700, "x" * KEPT_CHARS_MAX, ATTEMPTS_MAX - 1)
        assert len(await recorded(outbox)) == 701
        tasks.cancel_scope.cancel()


async def test_while_the_log_is_unavailable_the_newest_attempts_are_kept_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH_MAX", 5)
    async with logged() as outbox, opened_queue() as queue, anyio.create_task_group() as tasks:
        faults = outbox.bus._faults = Faults()
        faults.script("publish", "unavailable", times=1_000)
        monkeypatch.setattr(module, "WAITING_MAX", 20)
        record = AttemptLog(outbox.bus, queue)
        tasks.start_soon(record.run, context("attempts", clock=outbox.clock))
        for number in range(50):
            record.add(attempt(number))
            await anyio.sleep(0.1)
        faults.clear()
        await anyio.sleep(5)
        kept = await recorded(outbox)
        assert kept == list(range(50))[-len(kept) :]
        assert 20 <= len(kept) <= 25
        assert record.lost == 50 - len(kept)
        tasks.cancel_scope.cancel()


async def test_a_refused_batch_is_lost_and_the_next_is_published() -> None:
    async with logged() as outbox, opened_queue() as queue, anyio.create_task_group() as tasks:
        record = AttemptLog(outbox.bus, queue)
        tasks.start_soon(record.run, context("attempts", clock=outbox.clock))
        record.add(attempt(0, response="x" * 5_000_000))
        await anyio.sleep(1)
        record.add(attempt(1))
        await anyio.sleep(1)
        assert (await recorded(outbox), record.lost) == ([1], 1)
        tasks.cancel_scope.cancel()


async def test_a_queue_that_is_unavailable_delays_no_record() -> None:
    async with logged() as outbox, anyio.create_task_group() as tasks:
        record = AttemptLog(outbox.bus, SqliteQueue())  # not open
        tasks.start_soon(record.run, context("attempts", clock=outbox.clock))
        for number in range(2):
            record.add(attempt(number))
            await anyio.sleep(1)
        assert await recorded(outbox) == [0, 1]
        tasks.cancel_scope.cancel()
