"""Options that several commands share, and the values made from them."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from airy.config import Config
    from airy.live_config.source import ConfigSource

OK = 0
USAGE = 64

Command = Callable[..., Any]


def in_panel(command: Command, panel: str) -> Command:
    """The help of `command` has `panel` behind its arguments and its own options."""
    for name in (panel, "Options", "Arguments"):
        command = click.option_panel(name)(command)
    return command


def config_options(command: Command, *, panel: str | None = None) -> Command:
    """`--config` and `--data`, in a panel of the help."""
    path = click.Path(path_type=Path, dir_okay=False)
    config_help = "configuration file; default: airy.yaml in this directory, if it exists"
    command = click.option("--config", "file", type=path, envvar="AIRY_CONFIG", help=config_help, panel=panel)(command)
    directory = click.Path(path_type=Path, file_okay=False)
    data_help = "data directory; overrides the configuration"
    return click.option("--data", type=directory, help=data_help, panel=panel)(command)


def cluster_options(command: Command) -> Command:
    """`--kafka` and `--redis`: servers that several processes share."""
    kafka = "keep the log in this Kafka cluster, host:port[,host:port]; further settings: bus.kafka"
    command = click.option(
        "--redis", envvar="AIRY_REDIS", help="keep the webhook queue in this Redis, redis://host:port/0"
    )(command)
    return click.option("--kafka", envvar="AIRY_KAFKA", help=kafka)(command)


def topics_options(command: Command) -> Command:
    """The cluster whose topics a command manages."""
    cluster = "the Kafka cluster, host:port[,host:port]; overrides the configuration"
    return config_options(click.option("--kafka", envvar="AIRY_KAFKA", help=cluster)(command))


def retired_option(name: str, now: str) -> Callable[[Command], Command]:
    """A former option: its use is an error, and `now` says what to write."""

    def refuse(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"there is no {name}: {now}")

    return click.option(name, hidden=True, expose_value=False, callback=refuse)


def load_config(
    file: Path | None, data: Path | None = None, kafka: str | None = None, redis: str | None = None
) -> "Config":
    """The configuration of a command line. Warnings go to stderr. Raises `InvalidConfig`."""
    source = config_source(file, data, kafka, redis)
    return source.config_of(source.read())


def config_source(
    file: Path | None, data: Path | None = None, kafka: str | None = None, redis: str | None = None
) -> "ConfigSource":
    """Where the configuration of a command line comes from."""
    from airy import config_file
    from airy.live_config.source import ConfigSource

    return ConfigSource(file or config_file.find(), environment(data, kafka, redis), warn=warn)


def environment(data: Path | None, kafka: str | None = None, redis: str | None = None) -> dict[str, str]:
    """The environment with these options in place of its variables."""
    overrides = {"AIRY_DATA": data and str(data), "AIRY_KAFKA": kafka, "AIRY_REDIS": redis}
    return os.environ | {name: value for name, value in overrides.items() if value}


def warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def resolve_components(names: Sequence[str]) -> frozenset[str]:
    from airy import components
    from airy.errors import Refused

    try:
        return components.resolve(names)
    except Refused as error:
        raise click.UsageError(str(error)) from error


def run_command(config: "Config", command: Callable[[], Awaitable[int]]) -> int:
    """Runs `command` with logging configured. Returns the exit code, also that of its error."""
    from airy import process

    process.configure_log(config)
    return process.exit_code_of(lambda: process.run_async(command))
