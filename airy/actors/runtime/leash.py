"""Runs one incarnation of an actor in a task of its own that can be let go.

A task group cannot end before its last task does, so a single actor that ignores its cancellation would hang
every supervisor above it. The kernel's own loops live in task groups; the actor's code alone lives out here,
and the worker that holds the leash waits for it as long as its limits say. This is the one file of the kernel
that speaks to an event loop directly.
"""

import asyncio  # noqa: TID251 -- anyio has no task outside a task group, see above
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context

import anyio

from airy.actors.runtime.failure import StrayCancellation, essence

_running: set[asyncio.Task[None]] = set()  # an event loop holds its tasks only weakly


class Leash:
    """`error` is what the actor raised, by the rules of `failure.essence`; it counts once `ended`."""

    def __init__(self, run: Callable[[], Awaitable[None]], *, path: str, on_end: Callable[[], None]) -> None:
        self.path = path
        self.ended = False
        self.error: Exception | None = None
        self._run = run
        self._on_end = on_end
        self._scope = anyio.CancelScope()
        _spawn(self._hold, name=path)

    def cancel(self) -> None:
        self._scope.cancel()

    async def _hold(self) -> None:
        try:
            with self._scope:
                await self._run()
        except BaseException as error:  # noqa: BLE001 -- `essence` raises again what is not the actor's
            self.error = essence(error) or self._stray()
        finally:
            self.ended = True
            self._on_end()

    def _stray(self) -> StrayCancellation | None:
        """Only a cancellation through the leash was asked for; any other would silently look like a normal
        end.
        """
        if self._scope.cancel_called:
            return None
        return StrayCancellation("cancelled by nobody: something it awaited was cancelled from elsewhere")


def _spawn(run: Callable[[], Coroutine[None, None, None]], *, name: str) -> None:
    if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
        task = asyncio.get_running_loop().create_task(run(), name=name)
        _running.add(task)
        task.add_done_callback(_running.discard)
    else:
        import trio  # noqa: PLC0415 -- only tests and simulations run on it

        trio.lowlevel.spawn_system_task(run, name=name, context=copy_context())
