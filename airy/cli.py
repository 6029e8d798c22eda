"""The command line: parses arguments and returns exit codes; no logic.

Expensive imports are inside the commands that need them, so that `airy --help` is fast. Exit codes follow sysexits:
0 ok, 64 usage, 70 internal failure, 75 temporary failure, 78 configuration.
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
    """`--config` and `--data`."""
    path = click.Path(path_type=Path, dir_okay=False)
    config_help = "configuration file; default: airy.yaml in this directory, if it exists"
    command = click.option("--config", "file", type=path, envvar="AIRY_CONFIG", help=config_help)(command)
    directory = click.Path(path_type=Path, file_okay=False)
    return click.option("--data", type=directory, help="data directory; overrides the configuration")(command)


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


def instance_options(command: Command) -> Command:
    """The instances to query."""
    which = "token of the instance; default: the configured or generated one"
    command = click.option("--token", envvar="AIRY_TOKEN", help=which)(command)
    url_help = "instance to query instead of the configured one, with --token; repeat it for several processes"
    return click.option("--url", "urls", multiple=True, envvar="AIRY_URL", help=url_help)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def airy() -> None:
    """Airy: a self-hosted messaging platform."""


@airy.command()
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep all data in memory; it is lost at the end")
@click.option("--demo", is_flag=True, help="run with a simulated Messenger and a bot, on separate data")
@click.option(
    "--console/--no-console", default=None, help="show the live view; default: only when stdout is a terminal"
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

    config = _config(file, data, kafka, redis)
    if demo and data is None:
        config = process.demo_config(config)
    shown = demo or sys.stdout.isatty() if console is None else console
    return process.run(config, ephemeral=ephemeral, demo=demo, console=shown)


@airy.command()
@click.argument("names", metavar="COMPONENT…", nargs=-1, required=True)
@config_options
@cluster_options
@click.option("--ephemeral", is_flag=True, help="keep all data in memory; it is lost at the end")
def run(
    names: Sequence[str], file: Path | None, data: Path | None, kafka: str | None, redis: str | None, ephemeral: bool
) -> int:
    """Run only these components, as a pod of a cluster does."""
    from airy import process

    return process.run(_config(file, data, kafka, redis), components=_components(names), ephemeral=ephemeral)


@airy.command()
@click.pass_context
def demo(context: click.Context) -> int:
    """Run the demo (`airy up --demo`): no account is needed."""
    options = {"file": None, "data": None, "kafka": None, "redis": None, "ephemeral": False, "console": None}
    return int(context.invoke(up, demo=True, **options))


@airy.command()
@config_options
@instance_options
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--watch", is_flag=True, help="show the live view")
def status(
    file: Path | None, data: Path | None, urls: Sequence[str], token: str | None, as_json: bool, watch: bool
) -> int:
    """Show the status of an installation: processes, components, lag, queue.

    A process with the API reports all processes; with several `--url`, each is queried. Exit code 75: the queried
    process is not ready, or a component has no ready process.
    """
    from airy import process
    from airy.tui import live
    from airy.tui import status as view

    instances = view.instances(_config(file, data), urls, token)
    if watch:
        return process.exit_code_of(lambda: process.run_async(live.watch_until_stopped, *instances[0]))
    return process.exit_code_of(lambda: process.run_async(view.show, instances, as_json))


@airy.command()
@config_options
def verify(file: Path | None, data: Path | None) -> int:
    """Fold the whole log into a fresh store and compare it with the stores on disk."""
    from airy import app, process

    config = _config(file, data)
    process.configure_log(config)
    return process.exit_code_of(lambda: process.run_async(app.verify, config))


@airy.command()
def version() -> int:
    """Print the version."""
    from airy import __version__

    click.echo(f"airy {__version__}")
    return OK


@airy.group()
def config() -> None:
    """Check the configuration file."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def validate(file: Path | None) -> int:
    """Validate FILE (default: airy.yaml in this directory) and print every problem."""
    from airy import config as configuration

    found = file or configuration.find()
    configuration.load(found, os.environ)
    click.echo(f"{found}: OK" if found else "no airy.yaml in this directory: the defaults are OK")
    return OK


@airy.group(name="topics")
def topic_commands() -> None:
    """Manage the topics and ACLs of a Kafka cluster."""


@topic_commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def list_topics(as_json: bool) -> int:
    """List all topics, with the components that write and read them."""
    from airy.app import topic_admin

    return topic_admin.show_topics(as_json=as_json)


@topic_commands.command(name="plan")
@topics_options
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def plan_topics(file: Path | None, data: Path | None, kafka: str | None, as_json: bool) -> int:
    """Show what `apply` would change. Exit code 0: nothing; 2: changes; 78: changes it would refuse."""
    return _topics("plan", _config(file, data, kafka), as_json=as_json)


@topic_commands.command(name="check")
@topics_options
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def check_topics(file: Path | None, data: Path | None, kafka: str | None, as_json: bool) -> int:
    """Check the cluster's topics. Exit code 78: they differ, and the differences are on stderr."""
    return _topics("check", _config(file, data, kafka), as_json=as_json)


@topic_commands.command(name="apply")
@topics_options
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
def apply_topics(file: Path | None, data: Path | None, kafka: str | None, yes: bool) -> int:
    """Create and alter topics; refuses changes that would need more than that."""
    config = _config(file, data, kafka)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is not a terminal: pass --yes")
        code = _topics("plan", config, as_json=False)
        if code != CHANGES:
            return code
        click.confirm("apply these changes?", abort=True)
    return _topics("apply", config)


@topic_commands.command(name="acls")
@click.argument("names", metavar="[COMPONENT]…", nargs=-1)
@topics_options
@click.option(
    "--principal-prefix",
    "prefix",
    default="User:airy-",
    show_default=True,
    help="prefix of the principal; the component follows",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "kafka-acls"]),
    default="table",
    show_default=True,
    help="text, JSON, or commands for kafka-acls.sh",
)
@click.option("--json", "form", flag_value="json", help="same as --format json")
@click.option("--apply", "applying", is_flag=True, help="create the ACLs at the cluster; removes none")
def acls(
    names: Sequence[str],
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    prefix: str,
    form: str,
    applying: bool,
) -> int:
    """Print the minimal ACLs of each component."""
    from airy.app import topic_admin

    config = _config(file, data, kafka)
    lists = topic_admin.component_acls(config, _components(names), prefix)
    code = topic_admin.show_acls(config, lists, form)
    return _topics("allow", config, lists) if applying else code


@airy.group(name="queue")
def queue_commands() -> None:
    """Manage the webhook queue in Redis."""


@queue_commands.command(name="acl")
@config_options
@click.option("--user", default="airy", show_default=True, help="user name in Redis")
def queue_acl(file: Path | None, data: Path | None, user: str) -> int:
    """Print the redis-cli command that creates the queue's user; replace PASSWORD in it."""
    from airy.app.redis import show_acl

    return show_acl(_config(file, data), user)


@airy.group()
def log() -> None:
    """Export and import the log, to move an installation to or from a cluster."""


@log.command("export")
@config_options
@click.option("--output", required=True, metavar="FILE", help="output file; - is stdout")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def log_export(file: Path | None, data: Path | None, output: str, as_json: bool) -> int:
    """Export the configured log to FILE: all topics and committed offsets. Airy must not run."""
    return _log("export", _config(file, data), output, as_json=as_json)


@log.command("import")
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--resume", is_flag=True, help="continue an import that did not complete")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def log_import(archive: str, file: Path | None, data: Path | None, resume: bool, as_json: bool) -> int:
    """Import FILE (- is stdin) into the configured log, which must be empty. Airy must not run."""
    return _log("load", _config(file, data), archive, resume=resume, as_json=as_json)


@log.command("digest")
@config_options
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def log_digest(file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold the configured log and print a digest: equal digests mean equal state."""
    return _log("digest", _config(file, data), as_json=as_json)


@log.command("check")
@click.argument("archive", metavar="FILE")
@config_options
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def log_check(archive: str, file: Path | None, data: Path | None, as_json: bool) -> int:
    """Fold FILE and the configured log and compare them. Exit code 70: they differ."""
    return _log("check", _config(file, data), archive, as_json=as_json)


@airy.group()
def sim() -> None:
    """Run simulated providers."""


@sim.command()
@click.option("--target", metavar="URL", help="URL that receives the webhooks, e.g. http://127.0.0.1:8080/facebook")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="port of the Graph API; default: a free one")
@click.option("--customers", type=click.IntRange(0, 10_000), default=0, help="number of simulated customers")
@click.option("--seed", type=int, default=0, help="seed of all random draws")
@click.option("--app-secret", envvar="FACEBOOK_APP_SECRET", help="app secret that signs webhooks")
@click.option(
    "--verify-token", envvar="FACEBOOK_WEBHOOK_SECRET", help="verify token; webhookSecret in the configuration"
)
@click.option("--rough", is_flag=True, help="inject faults: duplicates, reordering, lost responses, errors")
def messenger(rough: bool, **arguments: Any) -> int:
    """Run a simulated Messenger: the Graph API, customers, and webhooks."""
    from airy.sim.messenger import ROUGH, Behaviour, SimOptions, run_messenger_sim

    arguments["target_url"] = arguments.pop("target")
    options = {name: value for name, value in arguments.items() if value is not None}
    return run_messenger_sim(SimOptions(behaviour=ROUGH if rough else Behaviour(), **options))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line. Returns the exit code."""
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


def _log(command: str, config: "Config", *arguments: Any, **options: Any) -> int:
    from airy import process
    from airy.app import log_transfer

    process.configure_log(config)
    return process.exit_code_of(
        lambda: process.run_async(lambda: getattr(log_transfer, command)(config, *arguments, **options))
    )


def _topics(command: str, config: "Config", *arguments: Any, **options: Any) -> int:
    from airy import process
    from airy.app import topic_admin

    process.configure_log(config)
    return process.exit_code_of(
        lambda: process.run_async(lambda: getattr(topic_admin, command)(config, *arguments, **options))
    )


def _config(file: Path | None, data: Path | None, kafka: str | None = None, redis: str | None = None) -> "Config":
    from airy import config as configuration

    overrides = {"AIRY_DATA": data and str(data), "AIRY_KAFKA": kafka, "AIRY_REDIS": redis}
    env = os.environ | {name: value for name, value in overrides.items() if value}
    return configuration.load(file or configuration.find(), env)
