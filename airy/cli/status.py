"""`airy status`: the status of an installation."""

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, instance_options, json_option, load_config


@click.command()
@config_options
@instance_options
@json_option
def status(file: Path | None, data: Path | None, urls: Sequence[str], token: str | None, as_json: bool) -> int:
    """Show the status of an installation: processes, components, lag, queue.

    A process with the API reports all processes; with several `--url`, each is queried. Exit code 75: the queried
    process is not ready, or a component has no ready process.
    """
    from airy import process
    from airy.tui import status as view
    from airy.tui.instance import instances

    asked = instances(load_config(file, data), urls, token)
    return process.exit_code_of(lambda: process.run_async(view.show, asked, as_json))
