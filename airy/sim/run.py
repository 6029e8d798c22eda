"""`airy sim …`: serves a simulated provider until it is interrupted, and prints what to configure and what is said."""

import signal
import sys
from collections.abc import Callable
from typing import Any

import anyio

from airy.sim.provider import SimServer
from airy.sim.provider.setup import lines


def run_sim(server: SimServer[Any], say: Callable[[str], None] | None = None) -> int:
    """Returns the exit code."""
    anyio.run(_run, server, say or _print, backend="asyncio")
    return 0


async def _run(server: SimServer[Any], say: Callable[[str], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with server.serving() as address:
            for line in lines(server.core.title, address, server.core.setup(address), server.target_url):
                say(line)
            for result in await server.handshakes():
                say(result)
            server.core.transcript = say
            async for _ in signals:
                return


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
