"""`airy up`, `airy run`, `airy demo`: run Airy in this process."""

import sys
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from airy.cli.completion import complete_components
from airy.cli.options import cluster_options, config_options, config_source, resolve_components
from airy.cli.output import examples


@click.command(
    epilog=examples(
        "airy up", "airy up --ephemeral --no-console", "airy up --kafka kafka:9092 --redis redis://redis:6379/0"
    )
)
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep all data in memory; it is lost at the end")
@click.option("--demo", is_flag=True, help="run with a simulated provider and a bot, on separate data")
@click.option(
    "--console/--no-console",
    default=None,
    help="open the console; default: on a terminal. Outside a terminal: plain lines",
)
def up(
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    redis: str | None,
    ephemeral: bool,
    demo: bool,
    console: bool | None,
) -> int:
    """Run every enabled component in this process."""
    from airy import process

    source = config_source(file, data, kafka, redis)
    config = source.config_of(source.read())
    if demo and data is None:
        config = process.demo_config(config)
    shown = demo or sys.stdout.isatty() if console is None else console
    return process.run(config, ephemeral=ephemeral, demo=demo, console=shown, source=source)


@click.command(epilog=examples("airy run sources-facebook --kafka kafka:9092", "airy run api-communication api-admin"))
@click.argument("names", metavar="COMPONENT…", nargs=-1, required=True, shell_complete=complete_components)
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep all data in memory; it is lost at the end")
def run(
    names: Sequence[str], file: Path | None, data: Path | None, kafka: str | None, redis: str | None, ephemeral: bool
) -> int:
    """Run only these components, as a pod of a cluster does."""
    from airy import process

    source, components = config_source(file, data, kafka, redis), resolve_components(names)
    return process.run(source.config_of(source.read()), components=components, ephemeral=ephemeral, source=source)


@click.command(epilog=examples("airy demo"))
@click.pass_context
def demo(context: click.Context) -> int:
    """Run the demo (`airy up --demo`): no account is needed."""
    options = {"file": None, "data": None, "kafka": None, "redis": None, "ephemeral": False, "console": None}
    return int(context.invoke(up, demo=True, **options))
