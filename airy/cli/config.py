"""`airy config …`: checks and shows the configuration."""

import os
from pathlib import Path
from typing import Any

import rich_click as click

from airy.cli.options import OK, config_options, load_config, warn
from airy.cli.output import Output, examples, output_options


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command(epilog=examples("airy config validate", "airy config validate production.yaml --json"))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@output_options
def validate(file: Path | None, output: Output) -> int:
    """Validate FILE (default: airy.yaml in this directory) and print every problem. Exit code 78: there are some."""
    import msgspec

    from airy import config_file
    from airy.cli.views.config import VALIDATION
    from airy.config_document import InvalidConfig

    found = file or config_file.find()
    result: dict[str, Any] = {"file": str(found) if found else None, "valid": True, "problems": []}
    try:
        config_file.load(found, os.environ, warn=warn)
    except InvalidConfig as error:
        if output.format != "table":
            output.one(VALIDATION, {**result, "valid": False, "problems": msgspec.to_builtins(error.problems)})
        raise
    text = f"{found}: OK" if found else "no airy.yaml in this directory: the defaults are OK"
    output.one(VALIDATION, result, text=lambda _: text)
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
