"""The HTTP server as an actor: listens, serves an ASGI application, drains on request.

Runs uvicorn without its signal handlers, logging set-up and `sys.exit`, because a supervisor owns the actor.
"""

import asyncio
import socket
from functools import partial

import anyio
import uvicorn

from airy.errors import Misconfigured
from airy.http.asgi import AsgiApp
from airy.http.connection import ConnectionLimits, HttpConnection, IsWebhook, OpenConnections
from airy.http.listener_handover import ListenerHandover
from airy.http.ports import ServerLifecycle
from airy.http.websocket_connection import WebsocketConnection


class HttpServer:
    """`address` is the bound address while the server runs; with port 0 the operating system chooses one.

    `websocket_bytes_max` limits a message of a websocket; None: the server refuses every websocket.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: ConnectionLimits | None = None,
        websocket_bytes_max: int | None = None,
        is_webhook: IsWebhook | None = None,
        drain_s: float = 10.0,
        backlog: int = 2_048,
        handover: ListenerHandover | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._limits = limits or ConnectionLimits()
        self._websocket_bytes_max = websocket_bytes_max
        self._is_webhook = is_webhook
        self._drain_s = drain_s
        self._backlog = backlog
        self._handover = handover or ListenerHandover()
        self._server: _UvicornServer | None = None
        self.address: tuple[str, int] | None = None

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections) if self._server else 0

    async def run(self, ctx: ServerLifecycle) -> None:
        listener = self._listen()
        self._server = server = _UvicornServer(self._config())
        try:
            await server.startup([listener])
            self.address = listener.getsockname()[:2]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.main_loop)
                ctx.ready()
                with ctx.waiting():
                    await ctx.draining.wait()
                    self._handover.keep((self._host, self._port), listener)
                    await server.shutdown([listener])
                tasks.cancel_scope.cancel()
        finally:
            self.address = self._server = None
            with ctx.cleanup():
                await server.close(listener)

    def _listen(self) -> socket.socket:
        if (kept := self._handover.take((self._host, self._port))) is not None:
            return kept
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family, backlog=self._backlog)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" (while ")[0]  # which repeats the address
            raise Misconfigured(
                f"cannot listen on {self._host}:{self._port}: {reason.lower()}; configure another one, or free it"
            ) from error
        # Connections inherit it. asyncio sets it for sockets that it made itself only; without it, a small answer
        # in two writes waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._handover.close()
        return listener

    def _config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=partial(HttpConnection, limits=self._limits, opened=OpenConnections(), is_webhook=self._is_webhook),  # type: ignore[arg-type]
            ws="none" if self._websocket_bytes_max is None else WebsocketConnection,
            ws_max_size=self._websocket_bytes_max or 0,
            ws_per_message_deflate=False,
            lifespan="off",
            loop="none",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",
            timeout_keep_alive=self._limits.keep_alive_s,
            timeout_graceful_shutdown=self._drain_s,  # type: ignore[arg-type]
        )
        config.load()
        return config


class _UvicornServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.lifespan = config.lifespan_class(config)
        self.servers = []

    async def on_tick(self, counter: int) -> bool:
        # After a stall of the event loop, read what has arrived meanwhile before any client counts as slow.
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpConnection):  # websockets are checked by their pings
                connection.expire(now)
        return await super().on_tick(counter)

    async def close(self, listener: socket.socket) -> None:
        """Close the listener, abort the connections and cancel the tasks that a drain left."""
        for server in self.servers:
            server.close()
        listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = set(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
