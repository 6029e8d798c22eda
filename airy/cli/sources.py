"""`airy sources …`: the sources in the catalogue."""

import rich_click as click

from airy.cli.options import OK, json_option


@click.group()
def sources() -> None:
    """Show the sources of this version and their configuration."""


@sources.command("list")
@json_option
def list_sources(as_json: bool) -> int:
    """List all sources."""
    from airy.cli import source_text

    click.echo(source_text.as_json(source_text.rows()) if as_json else source_text.table())
    return OK


@sources.command("info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> int:
    """Show a source: kinds of channels, webhooks, topics, configuration."""
    from airy.cli import source_text
    from airy.errors import Refused

    try:
        spec = source_text.find(name)
    except Refused as error:
        raise click.UsageError(str(error)) from error
    click.echo(source_text.as_json(source_text.details(spec)) if as_json else source_text.page(spec))
    return OK
