"""`airy rebuild`: builds the stores anew."""

from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, load_config, run_command
from airy.cli.output import confirm, examples, yes_option


@click.command(epilog=examples("airy rebuild --yes", "airy rebuild --config production.yaml"))
@config_options
@yes_option
def rebuild(file: Path | None, data: Path | None, yes: bool) -> int:
    """Remove the stores on disk and fold the whole log into new ones. Airy must not run.

    A process does that by itself when it has to; the command does it before the start, with an estimate.
    """
    from airy.app import rebuild as stores
    from airy.config import data_directory

    config = load_config(file, data)
    confirm(f"Remove the stores in {data_directory(config)} and build them from the log?", yes=yes)
    return run_command(config, lambda: stores.rebuild(config))
