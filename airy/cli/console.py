"""`airy console`: the terminal application."""

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, instance_options, load_config
from airy.tui.console.themes import NAMES


@click.command()
@config_options
@instance_options
@click.option("--write", is_flag=True, help="allow actions that change something; each is confirmed")
@click.option("--theme", type=click.Choice(NAMES), default=NAMES[0], envvar="AIRY_THEME", help="colours")
@click.option("--open", "first", default="overview", help="the view to open first")
def console(
    file: Path | None, data: Path | None, urls: Sequence[str], token: str | None, write: bool, theme: str, first: str
) -> int:
    """Open the console of a running instance."""
    from airy import process
    from airy.tui.console.navigation import BY_NAME
    from airy.tui.console.program import run_console
    from airy.tui.instance import instances

    if first not in BY_NAME:
        raise click.UsageError(f"--open: there is no view {first}; there are {', '.join(BY_NAME)}")
    instance = instances(load_config(file, data), urls, token)[0]
    return process.exit_code_of(lambda: run_console(*instance, writes=write, theme=theme, first=first))
