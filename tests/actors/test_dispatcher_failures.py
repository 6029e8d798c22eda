"""The dispatcher after bugs, unwanted deliveries and an unavailable queue."""

import anyio
import apsw
import pytest
from msgspec.structs import replace

from airy import topics
from airy.errors import Misconfigured, Unavailable
from airy.http_client import Response
from airy.model.change import ChangeKind
from airy.queue.api import Job, QueueStats
from airy.queue.sqlite import SqliteQueue
from tests.kit.dispatching import HOUR_S, put, running
from tests.kit.webhooks import (
    Behaviour,
    Request,
    acting,
    answers,
    attempts,
    context,
    in_turn,
)

# --- bugs


def raises(error: Exception) -> Behaviour:
    async def behave(_request: Request) -> Response:
        raise error

    return behave


@pytest.mark.parametrize("error", [UnicodeError("sesame"), KeyError("sesame"), RuntimeError("sesame")])
async def test_an_unexpected_exception_of_one_job_is_a_failed_attempt_of_it(error: Exception) -> None:
    async with running() as here:
        for name in ("bad", "good"):
            await here.outbox.subscribes(name)
        here.endpoints.behave("bad", in_turn(raises(error), answers(200)))
        await here.outbox.happens()
        await here.delivered("good", 1)
        await here.delivered("bad", 2)
        recorded = {(one.webhook_id, one.attempt, one.result): one.error for one in await attempts(here.outbox.bus)}
        assert recorded == {
            ("good", 1, "delivered"): "",
            ("bad", 1, "again"): "a bug in Airy ended the attempt; its log has the details",
            ("bad", 2, "delivered"): "",
        }
        assert here.metrics.bugs == {"delivery": 1}
        assert await here.empty()


class Unsettling(SqliteQueue):
    """Meets a bug in the first outcomes of one webhook's job."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def _meet(self, job: Job) -> None:
        if job.webhook_id == "bad" and self._times:
            self._times -= 1
            raise ValueError("sesame")

    async def complete(self, job: Job) -> bool:
        self._meet(job)
        return await super().complete(job)

    async def retry(self, job: Job, *, now_ms: int, due_ms: int, reason: str) -> bool:
        self._meet(job)
        return await super().retry(job, now_ms=now_ms, due_ms=due_ms, reason=reason)


class Failing(SqliteQueue):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def complete(self, job: Job) -> bool:
        raise self._error


@pytest.mark.parametrize("times", [1, 2])
async def test_a_bug_while_a_delivery_is_settled_is_a_failed_attempt_of_it(times: int) -> None:
    """By the schedule, or after its lease if the queue cannot take the failure either."""
    async with running(queue=Unsettling(times)) as here:
        for name in ("bad", "good"):
            await here.outbox.subscribes(name)
        await here.outbox.happens()
        await here.delivered("good", 1)
        first, second = await here.delivered("bad", 2, within_s=60)
        assert (second.at_s - first.at_s < 10) is (times == 1)
        assert here.metrics.bugs == {"delivery": times}
        assert await here.empty()


@pytest.mark.parametrize("error", [apsw.CorruptError("damaged"), Misconfigured("read-only"), RuntimeError("closed")])
async def test_a_failure_of_the_queue_ends_the_dispatcher(error: Exception) -> None:
    async with running(queue=Failing(error), dispatching=False) as here:
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        with pytest.raises(ExceptionGroup) as failed:
            await here.dispatcher().run(context("dispatcher", clock=here.outbox.clock))
        assert failed.group_contains(type(error))


# --- deliveries that are not wanted any more


async def test_jobs_of_an_unsubscribed_webhook_are_dropped_before_the_request() -> None:
    async with running(dispatching=False) as here:
        webhook = await here.outbox.subscribes("a")
        await here.outbox.subscribes("b")
        for number in range(5):
            await here.outbox.happens(f"lane {number}")
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, status="Unsubscribed"))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(1)
        assert (len(here.endpoints.to("a")), len(here.endpoints.to("b"))) == (0, 5)
        assert await here.empty()


async def test_events_a_webhook_is_no_longer_subscribed_to_are_not_sent() -> None:
    async with running(dispatching=False) as here:
        webhook = await here.outbox.subscribes("a")
        await here.outbox.happens("x", kind=ChangeKind.MESSAGE_CREATED)
        (kept,) = await here.outbox.happens("x", kind=ChangeKind.CONVERSATION_UPDATED)
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, events=("conversation.updated",)))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(1)
        assert [request.event_id for request in here.endpoints.to("a")] == [kept]
        assert await here.empty()


async def test_jobs_of_a_webhook_that_is_not_folded_yet_are_not_dropped() -> None:
    async with running(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(3)
        assert not await here.empty()
        ((end, _),) = [item for item in (await here.outbox.bus.end_offsets([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 0), webhook)
        await here.delivered("a", 1)
        assert await here.empty()


async def test_a_delivery_waits_for_a_lagging_store_without_using_attempts() -> None:
    async with running(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(HOUR_S)
        assert await here.queue.stats() == QueueStats(1, 0, 1_000) or (await here.queue.stats()).leased == 1
        await here.outbox.writes(webhook)
        ((end, _),) = [item for item in (await here.outbox.bus.end_offsets([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 1), webhook)
        await here.delivered("a", 1, within_s=60)
        await anyio.sleep(2)
        (attempt,) = await attempts(here.outbox.bus)
        assert attempt.attempt == 1


async def test_the_dispatcher_does_not_spin_while_the_log_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(publishing=False) as here:
        asked = 0

        async def ends(_topics: object) -> dict[object, int]:
            nonlocal asked
            asked += 1
            raise Unavailable("the log cannot serve")

        monkeypatch.setattr(here.outbox.bus, "end_offsets", ends)
        await put(here.queue, "unknown")
        await anyio.sleep(20)
        assert 10 < asked <= 21


# --- an unavailable queue


async def test_an_unavailable_queue_delays_but_loses_and_duplicates_nothing() -> None:
    async with running(publishing=False, dispatching=False) as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", answers(200, after_s=0.5))
        await put(here.queue, "a", count=3)
        dispatcher = here.dispatcher()
        async with acting(dispatcher, clock=here.outbox.clock):
            await anyio.sleep(0.1)
            connection = here.queue._file._connection
            here.queue._file._connection = None
            await anyio.sleep(10)
            assert len(here.endpoints.to("a")) == 3
            here.queue._file._connection = connection
            await anyio.sleep(10)
            assert await here.empty()
        assert len(here.endpoints.to("a")) == 3
