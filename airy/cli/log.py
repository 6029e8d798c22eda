"""`airy log …`: export and import of the log."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, load_config, run_command
from airy.cli.output import Output, examples, note, output_options

DIFFERENT = 70
STANDARD = "-"


class _ExportCommand(click.RichCommand):
    """`--output` once named the file: its error names the argument."""

    def parse_args(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.BadParameter as error:
            if error.param is None or error.param.name != "output":
                raise
            text = f"{error.message} The archive is an argument: airy log export FILE."
            raise click.BadParameter(text, ctx, error.param) from error


@click.group()
def log() -> None:
    """Export and import the log, to move an installation to or from a cluster."""


@log.command(
    "export",
    cls=_ExportCommand,
    epilog=examples("airy log export business.airylog", "airy log export - | zstd > business.zst"),
)
@click.argument("archive", metavar="FILE")
@config_options
@output_options
def log_export(archive: str, file: Path | None, data: Path | None, output: Output) -> int:
    """Export the configured log to FILE: all topics and committed offsets. Airy must not run.

    - is stdout; what was exported is then printed on stderr.
    """
    import msgspec

    from airy.app import log_transfer
    from airy.cli.views.log_archives import ARCHIVE

    config = load_config(file, data)

    async def task() -> int:
        summary = await log_transfer.export(config, archive)
        replace(output, to_stderr=archive == STANDARD).one(ARCHIVE, msgspec.to_builtins(summary))
        return OK

    return run_command(config, task)


@log.command("import", epilog=examples("airy log import business.airylog", "airy log import business.airylog --resume"))
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--resume", is_flag=True, help="continue an import that did not complete")
@output_options
def log_import(archive: str, file: Path | None, data: Path | None, resume: bool, output: Output) -> int:
    """Import FILE (- is stdin) into the configured log, which must be empty. Airy must not run."""
    import msgspec

    from airy.app import log_transfer
    from airy.cli.views.log_archives import ARCHIVE

    config = load_config(file, data)

    async def task() -> int:
        summary, cleared = await log_transfer.load(config, archive, resume=resume)
        output.one(ARCHIVE, msgspec.to_builtins(summary))
        for line in cleared:
            note(line)
        return OK

    return run_command(config, task)


@log.command("digest", epilog=examples("airy log digest --json"))
@config_options
@output_options
def log_digest(file: Path | None, data: Path | None, output: Output) -> int:
    """Fold the configured log and print a digest: equal digests mean equal state."""
    import msgspec

    from airy.app import log_transfer
    from airy.cli.views.log_archives import FOLD

    config = load_config(file, data)

    async def task() -> int:
        output.one(FOLD, msgspec.to_builtins(await log_transfer.digest(config)))
        return OK

    return run_command(config, task)


@log.command("check", epilog=examples("airy log check business.airylog"))
@click.argument("archive", metavar="FILE")
@config_options
@output_options
def log_check(archive: str, file: Path | None, data: Path | None, output: Output) -> int:
    """Fold FILE and the configured log and compare them. Exit code 70: they differ."""
    import msgspec

    from airy.app import log_transfer
    from airy.cli.views.log_archives import COMPARISON

    config = load_config(file, data)

    async def task() -> int:
        found = await log_transfer.check(config, archive)
        output.one(COMPARISON, msgspec.to_builtins(found))
        return OK if found.same else DIFFERENT

    return run_command(config, task)
