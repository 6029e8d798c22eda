"""`airy log …`: export and import of the log."""

from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, json_option, load_config, run_command
from airy.cli.output import examples


@click.group()
def log() -> None:
    """Export and import the log, to move an installation to or from a cluster."""


@log.command(
    "export",
    epilog=examples("airy log export --output business.airylog", "airy log export --output - | zstd > business.zst"),
)
@config_options
@click.option("--output", required=True, metavar="FILE", help="output file; - is stdout")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def log_export(file: Path | None, data: Path | None, output: str, as_json: bool) -> int:
    """Export the configured log to FILE: all topics and committed offsets. Airy must not run."""
    from airy.app import log_transfer

    config = load_config(file, data)
    return run_command(config, lambda: log_transfer.export(config, output, as_json=as_json))


@log.command("import", epilog=examples("airy log import business.airylog", "airy log import business.airylog --resume"))
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--resume", is_flag=True, help="continue an import that did not complete")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def log_import(archive: str, file: Path | None, data: Path | None, resume: bool, as_json: bool) -> int:
    """Import FILE (- is stdin) into the configured log, which must be empty. Airy must not run."""
    from airy.app import log_transfer

    config = load_config(file, data)
    return run_command(config, lambda: log_transfer.load(config, archive, resume=resume, as_json=as_json))


@log.command("digest", epilog=examples("airy log digest --json"))
@config_options
@json_option
def log_digest(file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold the configured log and print a digest: equal digests mean equal state."""
    from airy.app import log_transfer

    config = load_config(file, data)
    return run_command(config, lambda: log_transfer.digest(config, as_json=as_json))


@log.command("check", epilog=examples("airy log check business.airylog"))
@click.argument("archive", metavar="FILE")
@config_options
@json_option
def log_check(archive: str, file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold FILE and the configured log and compare them. Exit code 70: they differ."""
    from airy.app import log_transfer

    config = load_config(file, data)
    return run_command(config, lambda: log_transfer.check(config, archive, as_json=as_json))
