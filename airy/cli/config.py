"""`airy config …`: checks and shows the configuration."""

import os
from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, load_config, warn
from airy.cli.output import Output, examples, output_options


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command(epilog=examples("airy config validate", "airy config validate production.yaml"))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def validate(file: Path | None) -> int:
    """Validate FILE (default: airy.yaml in this directory) and print every problem."""
    from airy import config_file

    found = file or config_file.find()
    config_file.load(found, os.environ, warn=warn)
    click.echo(f"{found}: OK" if found else "no airy.yaml in this directory: the defaults are OK")
    return OK


@config.command(epilog=examples("airy config show", "airy config show --json | jq .http"))
@config_options
@output_options
def show(file: Path | None, data: Path | None, output: Output) -> int:
    """Print the effective configuration, as YAML unless another format is asked for; secrets are masked."""
    from airy.cli.views.config import CONFIG
    from airy.config_secrets import masked

    shown = Output("yaml") if output.format == "table" else output
    shown.one(CONFIG, masked(load_config(file, data)))
    return OK
