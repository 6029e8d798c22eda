"""Runs an actor's code in a task outside every task group, so that the runtime can abandon it.

A task group cannot end before its last task does, so one actor that ignores its cancellation would block every
supervisor above it. Runtime loops use task groups; only actor code runs in a detached task, and its worker waits for it
as long as the actor's limits allow. This is the only module of the runtime that uses an event loop directly.
"""

import asyncio  # noqa: TID251 -- anyio has no task outside a task group, see above
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context

import anyio

from airy.actors.runtime.failure import StrayCancellation, primary_error

_tasks: set[asyncio.Task[None]] = set()  # strong references: an event loop holds its tasks only weakly


class DetachedTask:
    """`error` is what the actor raised, reduced by `failure.primary_error`; valid once `ended`."""

    def __init__(self, run: Callable[[], Awaitable[None]], *, path: str, on_end: Callable[[], None]) -> None:
        self.path = path
        self.ended = False
        self.error: Exception | None = None
        self._run = run
        self._on_end = on_end
        self._scope = anyio.CancelScope()
        _spawn(self._run_to_end, name=path)

    def cancel(self) -> None:
        self._scope.cancel()

    async def _run_to_end(self) -> None:
        try:
            with self._scope:
                await self._run()
        except BaseException as error:  # noqa: BLE001 -- `primary_error` re-raises interrupts and exits
            self.error = primary_error(error) or self._stray_cancellation()
        finally:
            self.ended = True
            self._on_end()

    def _stray_cancellation(self) -> StrayCancellation | None:
        """An error unless `cancel` was called: otherwise the cancellation would look like a normal end."""
        if self._scope.cancel_called:
            return None
        return StrayCancellation("cancelled, but not by its supervisor: something it awaited was cancelled elsewhere")


def _spawn(run: Callable[[], Coroutine[None, None, None]], *, name: str) -> None:
    if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
        task = asyncio.get_running_loop().create_task(run(), name=name)
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
    else:
        import trio  # noqa: PLC0415 -- only tests and simulations run on it

        trio.lowlevel.spawn_system_task(run, name=name, context=copy_context())
