"""`airy version`."""

import rich_click as click

from airy.cli.options import OK
from airy.cli.output import examples


@click.command(epilog=examples("airy version"))
def version() -> int:
    """Print the version."""
    from airy import __version__

    click.echo(f"airy {__version__}")
    return OK
