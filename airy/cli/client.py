"""Commands as clients of the HTTP API: which instance, its pages, its errors as exit codes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.connection import connect
from airy.cli.options import OK, Command, config_options, in_panel, load_config
from airy.cli.output import ALL, Output, note
from airy.cli.view import Document, View

if TYPE_CHECKING:
    from airy.api_client import ApiClient
    from airy.tui.instance import UrlAndToken

PAGE_SIZE_MAX = 500
PANEL = "Instance"  # of the help

Find = Callable[["ApiClient"], Awaitable[Document]]


@dataclass(frozen=True)
class Instance:
    """The instance that a command asks, as its options name it."""

    file: Path | None
    data: Path | None
    url: str | None
    token: str | None

    def address(self) -> "UrlAndToken":
        """Its URL and token."""
        from airy.tui.instance import instance

        return instance(load_config(self.file, self.data), self.url, self.token)

    def run(self, task: "Callable[[ApiClient], Awaitable[int]]") -> int:
        """Runs `task` with a client of the instance. Returns the exit code, also that of its error."""

        async def with_one(clients: "Sequence[ApiClient]") -> int:
            return await task(clients[0])

        return connect(self.file, self.data, [self.url] if self.url else [], self.token, with_one)

    # --- the usual tasks

    def list(
        self, output: Output, view: View, path: str, body: Document, *, limit: int = ALL, paged: bool = True
    ) -> int:
        """Print the rows of a list action, page by page; of an action without pages in the order of the view."""

        async def task(client: "ApiClient") -> int:
            if paged:
                await _print_pages(client, output, view, path, body, limit)
            else:
                answer = await client.call(path, body, dict[str, Any])
                output.rows(view, answer["data"])
            return OK

        return self.run(task)

    def show(
        self, output: Output, view: View, path: str, body: Document, *, headers: Mapping[str, str] | None = None
    ) -> int:
        """Print the object that an action answers."""

        async def task(client: "ApiClient") -> int:
            output.one(view, await client.call(path, body, dict[str, Any], headers=headers))
            return OK

        return self.run(task)

    def change(
        self, output: Output, result: str, path: str, bodies: Mapping[str, Document], *, common: "Find | None" = None
    ) -> int:
        """Call an action once for each id in `bodies`, and print `result` for each. `common`: finds further fields."""
        from airy.cli.views.outcomes import OUTCOMES

        async def task(client: "ApiClient") -> int:
            fields = await common(client) if common else {}
            with output.writer(OUTCOMES) as writer:
                for id_, body in bodies.items():
                    await client.call(path, {**body, **fields}, object)
                    writer.write([{"id": id_, "result": result}])
            return OK

        return self.run(task)


async def _print_pages(client: "ApiClient", output: Output, view: View, path: str, body: Document, limit: int) -> None:
    printed, total = 0, 0
    with output.writer(view) as writer:
        async for rows, total in pages(client, path, body, limit=limit):  # noqa: B007 - the last one counts
            writer.write(rows)
            printed += len(rows)
    if not printed:
        note(f"no {view.what}")
    elif printed < total:
        note(f"{printed:,} of {total:,} {view.what}; --limit 0 prints all")


async def pages(
    client: "ApiClient", path: str, body: Document, *, limit: int = ALL
) -> AsyncIterator[tuple[Sequence[Document], int]]:
    """The rows of a list action and their total number, page by page, `limit` rows at most."""
    cursor, left = None, limit
    while True:
        size = min(left, PAGE_SIZE_MAX) if limit else PAGE_SIZE_MAX
        answer = await client.call(path, {**body, "cursor": cursor, "page_size": size}, dict[str, Any])
        rows, pagination = answer["data"], answer["pagination_data"]
        yield rows[:size], pagination["total"]
        cursor, left = pagination["next_cursor"], left - len(rows)
        if cursor is None or (limit and left <= 0):
            return


def _checked_url(_context: click.Context, _option: click.Parameter, given: Any) -> Any:
    """Of one `--url` or several. Raises `BadParameter`."""
    from airy.egress import UNRESTRICTED, check_url
    from airy.errors import Refused

    try:
        for url in [given] if isinstance(given, str) else given or ():
            check_url(url, UNRESTRICTED)
    except Refused as error:
        raise click.BadParameter(str(error).removeprefix("not called: ")) from error
    return given


def _checked_token(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Raises `BadParameter`, without the token."""
    from airy.errors import Refused
    from airy.token_file import entered_token

    try:
        if given:
            entered_token(given, "it")
    except Refused as error:
        raise click.BadParameter(str(error)) from error
    return given


URL_HELP = "instance to ask, with --token; default: the configured one"


def client_options(command: Command) -> Command:
    """`--url`, `--token`, `--config` and `--data`; the command gets `instance`."""

    @wraps(command)
    def with_instance(
        *arguments: Any, file: Path | None, data: Path | None, url: str | None, token: str | None, **given: Any
    ) -> Any:
        return command(*arguments, instance=Instance(file, data, url, token), **given)

    return _with_panel(
        click.option("--url", envvar="AIRY_URL", callback=_checked_url, help=URL_HELP, panel=PANEL)(with_instance)
    )


def instances_options(command: Command) -> Command:
    """The same, for a command that asks several instances; it gets each option, and `urls`."""
    text = f"{URL_HELP}; repeat it for several processes"
    return _with_panel(
        click.option("--url", "urls", multiple=True, envvar="AIRY_URL", callback=_checked_url, help=text, panel=PANEL)(
            command
        )
    )


def _with_panel(command: Command) -> Command:
    text = "API token; default: the one of the configuration or of the data directory"
    with_token = click.option("--token", envvar="AIRY_TOKEN", callback=_checked_token, help=text, panel=PANEL)(command)
    return in_panel(config_options(with_token, panel=PANEL), PANEL)
