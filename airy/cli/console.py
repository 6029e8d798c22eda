"""`airy console`: the terminal application."""

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.output import examples
from airy.tui.console.theme_names import NAMES


@click.command(
    epilog=examples(
        "airy console",
        "airy console --write --open conversations",
        "airy console --url https://airy.example.net --theme contrast",
    )
)
@click.option("--write", is_flag=True, help="allow actions that change something; each is confirmed")
@click.option("--theme", type=click.Choice(NAMES), default=NAMES[0], envvar="AIRY_THEME", help="colours")
@click.option("--open", "first", default="overview", help="the view to open first")
@client_options
def console(instance: Instance, write: bool, theme: str, first: str) -> int:
    """Open the console of a running instance."""
    from airy import process
    from airy.tui.console.navigation import BY_NAME
    from airy.tui.console.program import run_console

    if first not in BY_NAME:
        raise click.UsageError(f"--open: there is no view {first}; there are {', '.join(BY_NAME)}")
    url, token = instance.address()
    return process.exit_code_of(lambda: run_console(url, token, writes=write, theme=theme, first=first))
