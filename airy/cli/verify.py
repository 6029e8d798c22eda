"""`airy verify`: checks the stores."""

from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, load_config, run_command
from airy.cli.output import Output, examples, note, output_options

DIFFERENT = 70


@click.command(epilog=examples("airy verify", "airy verify --data /srv/airy --json"))
@config_options
@output_options
def verify(file: Path | None, data: Path | None, output: Output) -> int:
    """Fold the whole log into a fresh store and compare it with the stores on disk. Exit code 70: one differs."""
    import msgspec

    from airy import app
    from airy.cli.views.stores import STORES

    config = load_config(file, data)

    async def task() -> int:
        found = await app.verify(config)
        output.rows(STORES, msgspec.to_builtins(found))
        different = [each.name for each in found if each.result == "different"]
        if different:
            note(f"{', '.join(different)}: not the fold of the log; stop Airy and run `airy rebuild`")
        return DIFFERENT if different else OK

    return run_command(config, task)
