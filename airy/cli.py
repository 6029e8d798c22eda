"""The command line: arguments in, exit code out, no logic.

Every import that costs something is inside the command that needs it, so that `airy --help` answers at
once. Exit codes are those of sysexits: 0 fine, 64 wrong usage, 70 the system failed, 75 not now, 78
configuration.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from airy.config import Config

OK = 0
USAGE = 64
INVALID = 78
INTERRUPTED = 130

click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.MAX_WIDTH = 100

Command = Callable[..., Any]


def config_options(command: Command) -> Command:
    """`--config` and `--data`, the same everywhere."""
    path = click.Path(path_type=Path, dir_okay=False)
    found = "the configuration; default: airy.yaml here, if there is one"
    command = click.option("--config", "file", type=path, envvar="AIRY_CONFIG", help=found)(command)
    where = click.Path(path_type=Path, file_okay=False)
    return click.option("--data", type=where, help="where data is kept, instead of as configured")(command)


def instance_options(command: Command) -> Command:
    """Which running instance to talk to."""
    told = "the instance's token; default: the configured or generated one"
    command = click.option("--token", envvar="AIRY_TOKEN", help=told)(command)
    other = "another instance than the configured one; takes --token"
    return click.option("--url", envvar="AIRY_URL", help=other)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def airy() -> None:
    """Airy: a self-hosted messaging platform."""


@airy.command()
@config_options
@click.option("--ephemeral", is_flag=True, help="keep nothing: memory instead of the disk, gone at the end")
@click.option("--demo", is_flag=True, help="with a simulated Messenger and a bot, on data of its own")
@click.option("--console/--no-console", default=None, help="the live view; default: if somebody looks")
def up(file: Path | None, data: Path | None, ephemeral: bool, demo: bool, console: bool | None) -> int:
    """Run every enabled component in this process."""
    from airy import process

    config = _config(file, data)
    if demo and data is None:
        config = process.demo_config(config)
    shown = demo or sys.stdout.isatty() if console is None else console
    return process.run(config, ephemeral=ephemeral, demo=demo, console=shown)


@airy.command()
@click.argument("names", metavar="COMPONENT…", nargs=-1, required=True)
@config_options
@click.option("--ephemeral", is_flag=True, help="keep nothing: memory instead of the disk, gone at the end")
def run(names: Sequence[str], file: Path | None, data: Path | None, ephemeral: bool) -> int:
    """Run only these components: what one pod of an installation does."""
    from airy import components, process
    from airy.errors import Refused

    try:
        chosen = components.resolve(names)
    except Refused as error:
        raise click.UsageError(str(error)) from error
    return process.run(_config(file, data), components=chosen, ephemeral=ephemeral)


@airy.command()
@click.pass_context
def demo(context: click.Context) -> int:
    """`airy up --demo`: see it work, without an account anywhere."""
    return int(context.invoke(up, file=None, data=None, ephemeral=False, demo=True, console=None))


@airy.command()
@config_options
@instance_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
@click.option("--watch", is_flag=True, help="the live view")
def status(file: Path | None, data: Path | None, url: str | None, token: str | None, as_json: bool, watch: bool) -> int:
    """How a running instance is: health, counts, what runs. Exit code 75: it is not ready."""
    from airy import process
    from airy.tui import live
    from airy.tui import status as view

    where = view.instance(_config(file, data), url, token)
    if watch:
        return process.conclude(lambda: process.in_loop(live.watch_until_stopped, *where))
    return process.conclude(lambda: process.in_loop(view.show, *where, as_json))


@airy.command()
@config_options
def verify(file: Path | None, data: Path | None) -> int:
    """Fold the whole log again into a fresh store and compare it with the one on disk."""
    from airy import app, process

    config = _config(file, data)
    process.configure_log(config)
    return process.conclude(lambda: process.in_loop(app.verify, config))


@airy.command()
def version() -> int:
    """The version of this program."""
    from airy import __version__

    click.echo(f"airy {__version__}")
    return OK


@airy.group()
def config() -> None:
    """The configuration file."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def validate(file: Path | None) -> int:
    """Say whether FILE (default: airy.yaml here) is right, or everything that is wrong with it."""
    from airy import config as configuration

    found = file or configuration.find()
    configuration.load(found, os.environ)
    click.echo(f"{found}: OK" if found else "no airy.yaml here: the defaults are OK")
    return OK


@airy.group()
def sim() -> None:
    """The simulated outside world."""


@sim.command()
@click.option("--target", metavar="URL", help="where webhooks go, as http://127.0.0.1:8080/facebook")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="where the Graph API answers; default: a free one"
)
@click.option("--customers", type=click.IntRange(0, 10_000), default=0, help="people who write by themselves")
@click.option("--seed", type=int, default=0, help="another seed, other people on other days")
@click.option("--app-secret", envvar="FACEBOOK_APP_SECRET", help="signs webhooks, as the app's secret does")
@click.option("--verify-token", envvar="FACEBOOK_WEBHOOK_SECRET", help="what the configuration calls webhookSecret")
@click.option("--rough", is_flag=True, help="a bad day: duplicates, disorder, lost answers, errors")
def messenger(rough: bool, **given: Any) -> int:
    """A Messenger without Meta: the Graph API, people, and their webhooks."""
    from airy.sim.messenger import ROUGH, Behaviour, SimOptions, run_messenger_sim

    given["target_url"] = given.pop("target")
    options = {name: value for name, value in given.items() if value is not None}
    return run_messenger_sim(SimOptions(behaviour=ROUGH if rough else Behaviour(), **options))


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole program: returns the exit code instead of exiting with it."""
    from airy.errors import Refused

    try:
        code = airy.main(args=arguments, prog_name="airy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else error.exit_code
    except click.Abort:
        return INTERRUPTED
    except Refused as error:
        click.echo(str(error), err=True)
        return INVALID
    return code if isinstance(code, int) else OK


def _config(file: Path | None, data: Path | None) -> "Config":
    from airy import config as configuration

    env = dict(os.environ)
    if data is not None:
        env["AIRY_DATA"] = str(data)
    return configuration.load(file or configuration.find(), env)
