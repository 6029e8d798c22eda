"""What a client leaves behind when its `stop` fails, hangs or is not worth waiting for: its tasks and connections.

The client keeps no list of its tasks. A task is its own when it runs a method of the client or of one of its parts.
"""

import asyncio
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection

ROUNDS_MAX: Final = 20  # a task may swallow a cancellation once, or end only after another did
ROUND_S: Final = 0.1
DEPTH: Final = 3
PACKAGE: Final = "aiokafka"


async def sweep(client: object) -> None:
    """End all of it. Bounded, and raises nothing: nobody is left to be told."""
    parts = _parts(client)
    for _ in range(ROUNDS_MAX):
        for part in parts:
            _hang_up(part)
        running = {task for task in asyncio.all_tasks() if any(_owner(task) is part for part in parts)}
        running.discard(asyncio.current_task())
        if not running:
            return
        for task in running:
            for connection in _held_by(task):
                connection.close()
            task.cancel()
        done, _ = await asyncio.wait(running, timeout=ROUND_S)
        for task in done:
            if not task.cancelled():
                task.exception()


def _hang_up(part: Any) -> None:
    """Of the part that holds the connections. Whoever waits for answers or for metadata is told at once."""
    for connection in list(getattr(part, "_conns", {}).values()):
        connection.close()
    waiting = getattr(part, "_md_update_fut", None)
    if waiting is not None:
        waiting.cancel()


def _held_by(task: "asyncio.Task[Any]") -> list[AIOKafkaConnection]:
    """Connections that nobody but the task knows of yet."""
    held: list[AIOKafkaConnection] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        held += [value for value in frame.f_locals.values() if isinstance(value, AIOKafkaConnection)]
        awaited = awaited.cr_await
    return held


def _parts(client: object) -> list[object]:
    """The client and what of the package it is made of."""
    parts, layer = [client], [client]
    for _ in range(DEPTH):
        found = [value for part in layer for value in getattr(part, "__dict__", {}).values() if _of_package(value)]
        layer = [value for value in found if not any(value is part for part in parts)]
        parts += layer
    return parts


def _of_package(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == PACKAGE


def _owner(task: "asyncio.Task[Any]") -> object:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return None if frame is None else frame.f_locals.get("self")
