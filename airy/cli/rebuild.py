"""`airy rebuild`: builds the stores anew."""

from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, load_config, run_command
from airy.cli.output import Output, confirm, examples, output_options, yes_option


@click.command(epilog=examples("airy rebuild --yes", "airy rebuild --config production.yaml"))
@config_options
@yes_option
@output_options
def rebuild(file: Path | None, data: Path | None, yes: bool, output: Output) -> int:
    """Remove the stores on disk and fold the whole log into new ones. Airy must not run.

    A process does that by itself when it has to; the command does it before the start, with an estimate.
    """
    import msgspec

    from airy.app import rebuild as stores
    from airy.cli.views.stores import STORES
    from airy.config import data_directory

    config = load_config(file, data)
    confirm(f"Remove the stores in {data_directory(config)} and build them from the log?", yes=yes)

    async def task() -> int:
        with output.writer(STORES) as writer:
            await stores.rebuild(config, lambda rebuilt: writer.write([msgspec.to_builtins(rebuilt)]))
        return OK

    return run_command(config, task)
