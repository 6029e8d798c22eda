"""`airy config …`: checks and shows the configuration."""

import os
from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, json_option, load_config, warn


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def validate(file: Path | None) -> int:
    """Validate FILE (default: airy.yaml in this directory) and print every problem."""
    from airy import config_file

    found = file or config_file.find()
    config_file.load(found, os.environ, warn=warn)
    click.echo(f"{found}: OK" if found else "no airy.yaml in this directory: the defaults are OK")
    return OK


@config.command()
@config_options
@json_option
def show(file: Path | None, data: Path | None, as_json: bool) -> int:
    """Print the effective configuration; secrets are masked."""
    import json

    import yaml

    from airy.config_secrets import masked

    values = masked(load_config(file, data))
    click.echo(json.dumps(values, indent=2) if as_json else yaml.safe_dump(values, sort_keys=False).rstrip())
    return OK
