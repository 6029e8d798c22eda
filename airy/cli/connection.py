"""Runs a command as a client of instances. Errors become exit codes; those of click stay click's."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.options import USAGE, load_config, run_command

if TYPE_CHECKING:
    from airy.api_client import ApiClient
    from airy.http_client import HttpClient

ADVICE = "`airy doctor` finds the cause"

OpenHttp = Callable[[], "AbstractAsyncContextManager[HttpClient]"]


def connect(
    file: Path | None,
    data: Path | None,
    urls: Sequence[str],
    token: str | None,
    task: "Callable[[Sequence[ApiClient]], Awaitable[int]]",
) -> int:
    """Runs `task` with a client of each of these URLs, or of the configured instance. Returns the exit code."""
    from airy.api_client import ApiClient
    from airy.errors import Unavailable
    from airy.http_client import ConnectFailed
    from airy.tui.instance import instances

    config = load_config(file, data)
    context = click.get_current_context()
    open_http: OpenHttp = (context and context.obj) or _open_http
    raised: list[Exception] = []

    async def connected() -> int:
        addresses = instances(config, urls, token)
        async with open_http() as http:
            try:
                return await task([ApiClient(http, *address) for address in addresses])
            except ConnectFailed as error:
                raise Unavailable(f"no instance answers at {addresses[0][0]} ({error}); {ADVICE}") from error
            except (click.ClickException, click.Abort) as error:
                raised.append(error)
                return USAGE

    code = run_command(config, connected)
    if raised:
        raise raised[0]
    return code


def _open_http() -> "AbstractAsyncContextManager[HttpClient]":
    from airy.egress import UNRESTRICTED
    from airy.http_client_aiohttp import AiohttpClient

    return AiohttpClient(UNRESTRICTED)
