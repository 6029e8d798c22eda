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
CHANGES = 2
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


def cluster_options(command: Command) -> Command:
    """`--kafka` and `--redis`: the same system on servers that several processes share."""
    kafka = "keep the log there: host:port[,host:port]; set AIRY_KAFKA or the configuration for more"
    command = click.option("--redis", envvar="AIRY_REDIS", help="queue webhooks there: redis://host:port/0")(command)
    return click.option("--kafka", envvar="AIRY_KAFKA", help=kafka)(command)


def topics_options(command: Command) -> Command:
    """Which cluster's topics."""
    cluster = "the cluster, host:port[,host:port], instead of as configured"
    return config_options(click.option("--kafka", envvar="AIRY_KAFKA", help=cluster)(command))


def instance_options(command: Command) -> Command:
    """Which running instance to talk to, process by process."""
    told = "the instance's token; default: the configured or generated one"
    command = click.option("--token", envvar="AIRY_TOKEN", help=told)(command)
    other = "another instance than the configured one; takes --token; again for each process of a cluster"
    return click.option("--url", "urls", multiple=True, envvar="AIRY_URL", help=other)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def airy() -> None:
    """Airy: a self-hosted messaging platform."""


@airy.command()
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep nothing: memory instead of the disk, gone at the end")
@click.option("--demo", is_flag=True, help="with a simulated Messenger and a bot, on data of its own")
@click.option("--console/--no-console", default=None, help="the live view; default: if somebody looks")
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

    config = _config(file, data, kafka, redis)
    if demo and data is None:
        config = process.demo_config(config)
    shown = demo or sys.stdout.isatty() if console is None else console
    return process.run(config, ephemeral=ephemeral, demo=demo, console=shown)


@airy.command()
@click.argument("names", metavar="COMPONENT…", nargs=-1, required=True)
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep nothing: memory instead of the disk, gone at the end")
def run(
    names: Sequence[str], file: Path | None, data: Path | None, kafka: str | None, redis: str | None, ephemeral: bool
) -> int:
    """Run only these components: what one pod of an installation does."""
    from airy import process

    return process.run(_config(file, data, kafka, redis), components=_components(names), ephemeral=ephemeral)


@airy.command()
@click.pass_context
def demo(context: click.Context) -> int:
    """`airy up --demo`: see it work, without an account anywhere."""
    given = {"file": None, "data": None, "kafka": None, "redis": None, "ephemeral": False, "console": None}
    return int(context.invoke(up, demo=True, **given))


@airy.command()
@config_options
@instance_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
@click.option("--watch", is_flag=True, help="the live view")
def status(
    file: Path | None, data: Path | None, urls: Sequence[str], token: str | None, as_json: bool, watch: bool
) -> int:
    """How an installation is: every process, what runs in it, how far behind; what waits.

    One process with the API tells of all; several `--url` are asked one by one. Exit code 75: the asked process is not
    ready, or no ready process runs some component.
    """
    from airy import process
    from airy.tui import live
    from airy.tui import status as view

    where = view.instances(_config(file, data), urls, token)
    if watch:
        return process.conclude(lambda: process.in_loop(live.watch_until_stopped, *where[0]))
    return process.conclude(lambda: process.in_loop(view.show, where, as_json))


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


@airy.group(name="topics")
def topic_commands() -> None:
    """The topics of a Kafka cluster, and who may use them."""


@topic_commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="for programs")
def list_topics(as_json: bool) -> int:
    """Every topic there is, and which components write and read it."""
    from airy.app import provision

    return provision.show_topics(as_json=as_json)


@topic_commands.command(name="plan")
@topics_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
def plan_topics(file: Path | None, data: Path | None, kafka: str | None, as_json: bool) -> int:
    """What `apply` would do. Exit code 0: nothing; 2: something; 78: it would refuse."""
    return _provision("plan", _config(file, data, kafka), as_json=as_json)


@topic_commands.command(name="check")
@topics_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
def check_topics(file: Path | None, data: Path | None, kafka: str | None, as_json: bool) -> int:
    """Whether the cluster's topics are as they should be. Exit code 78: they are not, and stderr says how."""
    return _provision("check", _config(file, data, kafka), as_json=as_json)


@topic_commands.command(name="apply")
@topics_options
@click.option("--yes", is_flag=True, help="do not ask")
def apply_topics(file: Path | None, data: Path | None, kafka: str | None, yes: bool) -> int:
    """Create and alter topics as they should be; refused where that takes more."""
    config = _config(file, data, kafka)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody to ask: say --yes")
        code = _provision("plan", config, as_json=False)
        if code != CHANGES:
            return code
        click.confirm("apply that?", abort=True)
    return _provision("apply", config)


@topic_commands.command(name="acls")
@click.argument("names", metavar="[COMPONENT]…", nargs=-1)
@topics_options
@click.option("--principal-prefix", "prefix", default="User:airy-", show_default=True, help="before the component")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "kafka-acls"]),
    default="table",
    show_default=True,
    help="for people, for programs, or command lines of Kafka's own tool",
)
@click.option("--json", "form", flag_value="json", help="the same as --format json")
@click.option("--apply", "applying", is_flag=True, help="add them at the cluster; takes none away")
def acls(
    names: Sequence[str],
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    prefix: str,
    form: str,
    applying: bool,
) -> int:
    """The least each component needs at a cluster that enforces access lists."""
    from airy.app import provision

    config = _config(file, data, kafka)
    lists = provision.acls(config, _components(names), prefix)
    code = provision.show_acls(config, lists, form)
    return _provision("allow", config, lists) if applying else code


@airy.group(name="queue")
def queue_commands() -> None:
    """The webhook queue of a cluster."""


@queue_commands.command(name="acl")
@config_options
@click.option("--user", default="airy", show_default=True, help="the user's name in Redis")
def queue_acl(file: Path | None, data: Path | None, user: str) -> int:
    """The least the queue needs of Redis, as a command for redis-cli: put a password where PASSWORD stands."""
    from airy.app.redis import show_acl

    return show_acl(_config(file, data), user)


@airy.group()
def log() -> None:
    """The log as a file, and back: how an installation moves to a cluster, or returns."""


@log.command("export")
@config_options
@click.option("--output", required=True, metavar="FILE", help="where to; - is stdout")
@click.option("--json", "as_json", is_flag=True, help="the result for programs")
def log_export(file: Path | None, data: Path | None, output: str, as_json: bool) -> int:
    """Write the configured log to FILE: every topic, and what was done with it. Airy must not run."""
    return _log("export", _config(file, data), output, as_json=as_json)


@log.command("import")
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--resume", is_flag=True, help="go on with an import that did not end")
@click.option("--json", "as_json", is_flag=True, help="the result for programs")
def log_import(archive: str, file: Path | None, data: Path | None, resume: bool, as_json: bool) -> int:
    """Fill the configured log, which must be empty, from FILE (- is stdin). Airy must not run."""
    return _log("load", _config(file, data), archive, resume=resume, as_json=as_json)


@log.command("digest")
@config_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
def log_digest(file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold the configured log from its beginning and say what came out. The same digest: the same state."""
    return _log("digest", _config(file, data), as_json=as_json)


@log.command("check")
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--json", "as_json", is_flag=True, help="for programs")
def log_check(archive: str, file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold FILE and the configured log, and compare. Exit code 70: they differ."""
    return _log("check", _config(file, data), archive, as_json=as_json)


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


def _components(names: Sequence[str]) -> frozenset[str]:
    from airy import components
    from airy.errors import Refused

    try:
        return components.resolve(names)
    except Refused as error:
        raise click.UsageError(str(error)) from error


def _log(doing: str, config: "Config", *given: Any, **options: Any) -> int:
    from airy import process
    from airy.app import moving

    process.configure_log(config)
    return process.conclude(lambda: process.in_loop(lambda: getattr(moving, doing)(config, *given, **options)))


def _provision(doing: str, config: "Config", *given: Any, **options: Any) -> int:
    from airy import process
    from airy.app import provision

    process.configure_log(config)
    return process.conclude(lambda: process.in_loop(lambda: getattr(provision, doing)(config, *given, **options)))


def _config(file: Path | None, data: Path | None, kafka: str | None = None, redis: str | None = None) -> "Config":
    from airy import config as configuration

    told = {"AIRY_DATA": data and str(data), "AIRY_KAFKA": kafka, "AIRY_REDIS": redis}
    env = os.environ | {name: value for name, value in told.items() if value}
    return configuration.load(file or configuration.find(), env)
