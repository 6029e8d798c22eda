"""`airy dlq …`: the records of the log that could not be processed."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from airy.cli.options import Command, config_options, json_option, load_config, run_command
from airy.cli.output import examples


@click.group()
def dlq() -> None:
    """List, inspect, replay and discard dead letters: records of the log that could not be processed."""


def source_options(command: Command) -> Command:
    """Where the dead letters are: a running process, or the configured log."""
    url_help = "process to ask, with --token; default: the configured one, or the log itself if no process runs"
    command = click.option("--url", envvar="AIRY_URL", help=url_help)(command)
    command = click.option("--token", envvar="AIRY_TOKEN", help="API token with the permission manage")(command)
    kafka = "the Kafka cluster with the log, host:port[,host:port]; overrides the configuration"
    command = click.option("--kafka", envvar="AIRY_KAFKA", help=kafka)(command)
    return config_options(json_option(command))


def letter_options(command: Command) -> Command:
    """Which dead letters to resolve."""
    command = click.option("--yes", is_flag=True, help="do not ask for confirmation")(command)
    command = click.option("--topic", help="with --all: only those of this topic's records")(command)
    command = click.option("--all", "everything", is_flag=True, help="all open dead letters")(command)
    return source_options(click.argument("letters", metavar="[ID]…", nargs=-1)(command))


@dlq.command("list", epilog=examples("airy dlq list", "airy dlq list --state all --json"))
@source_options
@click.option("--topic", help="only dead letters of this topic's records")
@click.option(
    "--state",
    type=click.Choice(["open", "replayed", "discarded", "all"]),
    default="open",
    show_default=True,
    help="what became of them",
)
def list_letters(
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    url: str | None,
    token: str | None,
    topic: str | None,
    state: Any,
    as_json: bool,
) -> int:
    """List dead letters, newest first."""
    from airy.app import dead_letter_admin as admin

    config = load_config(file, data, kafka)
    wanted = None if state == "all" else state
    return run_command(config, lambda: admin.show_list(config, url, token, topic=topic, state=wanted, as_json=as_json))


@dlq.command("show", epilog=examples("airy dlq show 1-42"))
@click.argument("letter", metavar="ID")
@source_options
def show_letter(
    letter: str,
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> int:
    """Print a dead letter with its headers and its body; control characters are escaped."""
    from airy.app import dead_letter_admin as admin

    config = load_config(file, data, kafka)
    return run_command(config, lambda: admin.show_letter(config, url, token, letter, as_json=as_json))


@dlq.command("replay", epilog=examples("airy dlq replay 1-42", "airy dlq replay --all --topic source.facebook.events"))
@letter_options
def replay_letters(**options: Any) -> int:
    """Append the original records to their topics again. Repeating it does nothing."""
    return _resolve("replay", **options)


@dlq.command("discard", epilog=examples("airy dlq discard 1-42 --reason 'a test'"))
@letter_options
@click.option("--reason", default="", help="why they are of no use, kept with them; at most 256 characters")
def discard_letters(**options: Any) -> int:
    """Mark dead letters as discarded; they are no longer listed as open."""
    return _resolve("discard", **options)


def _resolve(
    verb: Any,
    *,
    letters: Sequence[str],
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    url: str | None,
    token: str | None,
    topic: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
    reason: str = "",
) -> int:
    from airy.app import dead_letter_admin as admin

    if bool(letters) == everything:
        raise click.UsageError("name dead letters, or pass --all")
    if everything and not yes and not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: pass --yes")
    config = load_config(file, data, kafka)
    return run_command(
        config,
        lambda: admin.resolve(
            config,
            url,
            token,
            verb,
            letters,
            all_of=topic,
            everything=everything,
            confirm=lambda question: yes or click.confirm(question),
            as_json=as_json,
            reason=reason,
        ),
    )
