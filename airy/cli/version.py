"""`airy version`."""

import rich_click as click

from airy.cli.options import OK


@click.command()
def version() -> int:
    """Print the version."""
    from airy import __version__

    click.echo(f"airy {__version__}")
    return OK
