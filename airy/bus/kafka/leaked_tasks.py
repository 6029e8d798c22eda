"""Ends the tasks and connections a client leaves behind when its `stop` fails, hangs or is not waited for.

The client keeps no list of its tasks. A task belongs to it when it runs a method of the client or of one of its parts.
"""

import asyncio
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection

ROUNDS_MAX: Final = 20  # a task may ignore one cancellation, or end only after another task has
ROUND_S: Final = 0.1
DEPTH: Final = 3  # how deep parts of parts are searched
PACKAGE: Final = "aiokafka"


async def cancel_leaked_tasks(client: object) -> None:
    """Bounded in time. Raises nothing: no caller could act on it."""
    parts = _parts(client)
    for _ in range(ROUNDS_MAX):
        for part in parts:
            _close_connections(part)
        running = {task for task in asyncio.all_tasks() if any(_owner(task) is part for part in parts)}
        running.discard(asyncio.current_task())
        if not running:
            return
        for task in running:
            for connection in _connections_of(task):
                connection.close()
            task.cancel()
        done, _ = await asyncio.wait(running, timeout=ROUND_S)
        for task in done:
            if not task.cancelled():
                task.exception()


def _close_connections(part: Any) -> None:
    """Of the part that holds them. Tasks that wait for a response or for metadata fail at once."""
    for connection in list(getattr(part, "_conns", {}).values()):
        connection.close()
    metadata = getattr(part, "_md_update_fut", None)
    if metadata is not None:
        metadata.cancel()


def _connections_of(task: "asyncio.Task[Any]") -> list[AIOKafkaConnection]:
    """Connections that only local variables of the task refer to yet."""
    found: list[AIOKafkaConnection] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        found += [value for value in frame.f_locals.values() if isinstance(value, AIOKafkaConnection)]
        awaited = awaited.cr_await
    return found


def _parts(client: object) -> list[object]:
    """The client, and the objects of its package it is made of."""
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
