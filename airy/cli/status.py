"""`airy status`: the status of an installation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.client import instances_options
from airy.cli.connection import connect
from airy.cli.options import OK
from airy.cli.output import Output, examples, output_options

if TYPE_CHECKING:
    from airy.api_client import ApiClient

NOT_READY = 75


@click.command(
    epilog=examples(
        "airy status",
        "airy status --url https://airy.example.net --token airy_… --json",
        "airy status --url http://one:8080 --url http://two:8080 --token airy_…",
    )
)
@instances_options
@output_options
def status(file: Path | None, data: Path | None, urls: Sequence[str], token: str | None, output: Output) -> int:
    """Show the status of an installation: processes, components, lag, queue.

    A process with the API reports all processes; with several `--url`, each is queried. The token needs the permission
    operate. Exit code 75: the queried process is not ready, or a component has no ready process.
    """
    from airy.cli.views.status import STATUS
    from airy.tui.status import read_status

    async def task(clients: "Sequence[ApiClient]") -> int:
        found = await read_status(clients)
        output.one(STATUS, found.document, text=lambda screen: screen.cut(found.text))
        return OK if found.ready else NOT_READY

    return connect(file, data, urls, token, task)
