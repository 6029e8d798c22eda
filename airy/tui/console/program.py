"""Runs the console on this terminal."""

import signal

import anyio

from airy.api_client import ApiClient
from airy.egress import UNRESTRICTED
from airy.errors import Refused, Unavailable
from airy.http_client import ConnectFailed
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.tui.console.app import ConsoleApp
from airy.tui.console.event_feed import EventFeed
from airy.tui.console.session import Session
from airy.tui.console.websocket_source import WebsocketSource


def run_console(url: str, token: Secret | None, *, writes: bool, theme: str, first: str) -> int:
    """Returns the exit code, once the user has left. Raises `Unavailable` if nothing listens there at the start."""

    async def run() -> int:
        async with AiohttpClient(UNRESTRICTED) as http:
            client = ApiClient(http, url, token)
            await _reach(client)
            session = Session(client, EventFeed(WebsocketSource(url, token)), writes=writes)
            app = ConsoleApp(session, first=first, theme=theme)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_leave_on_signal, app)
                await app.run_async()
                tasks.cancel_scope.cancel()
            return app.return_code or 0

    return anyio.run(run, backend="asyncio")


async def _reach(client: ApiClient) -> None:
    """What answers may be unready, or refuse the token: the console shows that."""
    try:
        await client.get("/livez", object, may_fail=True)
    except ConnectFailed as error:
        advice = "start one with airy up, or airy up --demo, or name one with airy console --url"
        raise Unavailable(f"no instance answers at {client.url} ({error}); {advice}") from error
    except (Unavailable, Refused):
        return


async def _leave_on_signal(app: ConsoleApp) -> None:
    """The terminal is restored before the process ends."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            app.exit()
