"""Sends a simulated provider's webhooks when they are due, several at once, and reports the responses to it."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from airy.clock import Clock
from airy.sim.provider.api import PendingWebhook, WebhookAnswer
from airy.sim.provider.core import SimulatedProvider

PostWebhook = Callable[[PendingWebhook], Awaitable[WebhookAnswer]]
"""Posts a webhook; returns the response. Must not raise."""

IDLE_S = 60.0


class WebhookSender:
    """Run it in a task; cancel it to stop."""

    def __init__(
        self, core: SimulatedProvider[Any], clock: Clock, post: PostWebhook, *, posts_parallel_max: int = 8
    ) -> None:
        self._core = core
        self._clock = clock
        self._post = post
        self._slots = anyio.Semaphore(posts_parallel_max)
        self._wakeup = anyio.Event()

    async def run(self) -> None:
        self._core.changed = self._wake
        async with anyio.create_task_group() as tasks:
            while True:
                self._wakeup = anyio.Event()
                for post in self._core.advance(self._clock.now_ms()):
                    await self._slots.acquire()
                    tasks.start_soon(self._deliver, post)
                with anyio.move_on_after(self._wait_s()):
                    await self._wakeup.wait()

    def _wake(self) -> None:
        self._wakeup.set()

    def _wait_s(self) -> float:
        due_ms = self._core.next_due_ms()
        if due_ms is None:
            return IDLE_S
        return min(max(0, due_ms - self._clock.now_ms()) / 1000, IDLE_S)

    async def _deliver(self, post: PendingWebhook) -> None:
        try:
            answer = await self._post(post)
            self._core.on_response(post, answer, self._clock.now_ms())
        finally:
            self._slots.release()
