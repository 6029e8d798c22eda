"""`airy verify`: checks the stores."""

from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, load_config, run_command
from airy.cli.output import examples


@click.command(epilog=examples("airy verify", "airy verify --data /srv/airy"))
@config_options
def verify(file: Path | None, data: Path | None) -> int:
    """Fold the whole log into a fresh store and compare it with the stores on disk. Exit code 70: one differs."""
    from airy import app

    config = load_config(file, data)
    return run_command(config, lambda: app.verify(config))
