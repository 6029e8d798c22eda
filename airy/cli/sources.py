"""`airy sources …`: the sources in the catalogue."""

import rich_click as click

from airy.cli.completion import complete_sources
from airy.cli.options import OK
from airy.cli.output import Output, examples, output_options


@click.group()
def sources() -> None:
    """Show the sources of this version and their configuration."""


@sources.command("list", epilog=examples("airy sources list", "airy sources list --json"))
@output_options
def list_sources(output: Output) -> int:
    """List all sources, in the order of the catalogue."""
    from airy.cli import source_text
    from airy.cli.views.sources import SOURCES

    output.rows(SOURCES, source_text.rows())
    return OK


@sources.command("info", epilog=examples("airy sources info telegram", "airy sources info twilio -o yaml"))
@click.argument("name", shell_complete=complete_sources)
@output_options
def info(name: str, output: Output) -> int:
    """Show a source: kinds of channels, webhooks, topics, configuration."""
    from airy.cli import source_text
    from airy.cli.views.sources import SOURCE
    from airy.errors import Refused

    try:
        spec = source_text.find(name)
    except Refused as error:
        raise click.UsageError(str(error)) from error
    output.one(SOURCE, source_text.details(spec), text=lambda _: source_text.page(spec))
    return OK
