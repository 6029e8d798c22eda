"""The feed misses no event, resumes where it ended, holds a bounded number, and says whether it is current."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from airy.tui.console.event_feed import EventFeed
from tests.kit.event_script import EventScript


@asynccontextmanager
async def followed(script: EventScript, *, events_max: int = 100) -> AsyncIterator[EventFeed]:
    feed = EventFeed(script, events_max=events_max)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        await anyio.sleep(1)
        yield feed
        tasks.cancel_scope.cancel()


async def test_events_arrive_in_order_and_are_taken_once() -> None:
    script = EventScript()
    async with followed(script) as feed:
        for _ in range(3):
            script.append("message.created")
        await anyio.sleep(1)

        assert [event.id for event in feed.take()] == ["e1", "e2", "e3"]
        assert feed.take() == []
        assert feed.state.phase == "live"


async def test_after_a_cut_it_continues_behind_the_last_event() -> None:
    script = EventScript()
    async with followed(script) as feed:
        script.append("message.created")
        await anyio.sleep(1)
        script.cut()
        script.append("message.created")
        script.append("message.created")
        await anyio.sleep(20)

        assert [event.id for event in feed.take()] == ["e1", "e2", "e3"]
        assert script.opened == [None, "1"]


async def test_an_instance_that_is_down_is_said_and_asked_again() -> None:
    script = EventScript()
    async with followed(script) as feed:
        script.down = True
        script.cut()
        await anyio.sleep(5)
        assert (feed.state.phase, feed.state.reason) == ("broken", "/events: connection refused")
        since_s = feed.state.since_s

        script.append("message.created")
        script.down = False
        await anyio.sleep(20)
        assert feed.state.phase == "live"
        assert feed.state.since_s > since_s
        assert [event.id for event in feed.take()] == ["e1"]


async def test_events_that_are_not_kept_any_more_count_as_a_resync() -> None:
    script = EventScript()
    async with followed(script) as feed:
        script.append("message.created")
        await anyio.sleep(1)
        script.down = True
        script.cut()
        await anyio.sleep(1)
        script.append("message.created")
        script.append("message.created")
        script.forgotten, script.down = 2, False
        await anyio.sleep(20)

        assert feed.resyncs == 1
        assert [event.id for event in feed.take()] == ["e1", "e3"]


async def test_a_refused_token_is_not_tried_again() -> None:
    script = EventScript()
    script.refused = "/events answered 403"
    async with followed(script) as feed:
        await anyio.sleep(60)
        assert (feed.state.phase, feed.state.reason, script.opened) == ("refused", "/events answered 403", [])


@pytest.mark.parametrize("events_max", [1, 5])
async def test_events_that_are_not_taken_stop_the_reading(events_max: int) -> None:
    script = EventScript()
    async with followed(script, events_max=events_max) as feed:
        for _ in range(20):
            script.append("message.created")
        await anyio.sleep(1)
        taken = feed.take()
        assert len(taken) == events_max

        while len(taken) < 20:
            await anyio.sleep(0.01)
            taken += feed.take()
        assert [event.id for event in taken] == [f"e{number}" for number in range(1, 21)]
