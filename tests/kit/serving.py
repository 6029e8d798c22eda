"""Serves the application of a harness on a port of this machine, for clients that need a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio

from airy.actors.runtime import Context
from airy.clock import SystemClock
from airy.http.connection import ConnectionLimits
from airy.http.server import HttpServer
from tests.kit.api import ApiHarness


@asynccontextmanager
async def serving(api: ApiHarness, limits: ConnectionLimits | None = None) -> AsyncIterator[tuple[str, Context]]:
    ready = anyio.Event()
    ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
    server = HttpServer(api.app, limits=limits, websocket_bytes_max=1_000, drain_s=0.5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, ctx)
        with anyio.fail_after(60):
            await ready.wait()
            assert server.address is not None
            yield f"http://127.0.0.1:{server.address[1]}", ctx
            ctx.draining.set()
