"""`airy dlq …`: the records of the log that could not be processed."""

import sys
from collections.abc import Sequence
from typing import Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK, Command, load_config, run_command
from airy.cli.output import Output, examples, note, output_options

EXAMPLE = "source.facebook.events/3/42"
TOPIC = "source.facebook.events"


@click.group()
def dlq() -> None:
    """List, inspect, replay and discard dead letters: records of the log that could not be processed.

    A running instance is asked, with a token that has the permission manage; if none answers at the configured
    address, the log itself is read.
    """


def source_options(command: Command) -> Command:
    """Where the dead letters are, and how they are printed."""
    kafka = "the Kafka cluster with the log, host:port[,host:port]; overrides the configuration"
    return click.option("--kafka", envvar="AIRY_KAFKA", help=kafka)(client_options(output_options(command)))


def letter_options(command: Command) -> Command:
    """Which dead letters to resolve."""
    command = click.option("--yes", is_flag=True, help="do not ask for confirmation")(source_options(command))
    command = click.option("--topic", help="with --all: only those of this topic's records")(command)
    command = click.option("--all", "everything", is_flag=True, help="all open dead letters")(command)
    return click.argument("letters", metavar="[ID]…", nargs=-1)(command)


@dlq.command("list", epilog=examples("airy dlq list", f"airy dlq list --state all --topic {TOPIC} --json"))
@click.option("--topic", help="only dead letters of this topic's records")
@click.option(
    "--state",
    type=click.Choice(["open", "replayed", "discarded", "all"]),
    default="open",
    show_default=True,
    help="what became of them",
)
@source_options
def list_letters(topic: str | None, state: Any, kafka: str | None, instance: Instance, output: Output) -> int:
    """List dead letters, newest first."""
    from airy.app import dead_letter_admin as admin
    from airy.cli.views.dead_letters import DEAD_LETTERS

    config = load_config(instance.file, instance.data, kafka)
    wanted = None if state == "all" else state

    async def task() -> int:
        found = await admin.find_all(config, instance.url, instance.token, topic=topic, state=wanted)
        output.rows(DEAD_LETTERS, found.data)
        if not found.complete:
            note("older dead letters exist that are not listed")
        return OK

    return run_command(config, task)


@dlq.command("show", epilog=examples(f"airy dlq show {EXAMPLE}", f"airy dlq show {EXAMPLE} --json | jq -r .body"))
@click.argument("letter", metavar="ID")
@source_options
def show_letter(letter: str, kafka: str | None, instance: Instance, output: Output) -> int:
    """Print a dead letter with its headers and its body; control characters are escaped."""
    from airy.app import dead_letter_admin as admin
    from airy.cli.dead_letter_text import detail_lines
    from airy.cli.views.dead_letters import DEAD_LETTER

    config = load_config(instance.file, instance.data, kafka)

    async def task() -> int:
        found = await admin.get(config, instance.url, instance.token, letter)
        output.one(DEAD_LETTER, found, text=lambda _: "\n".join(detail_lines(found)))
        return OK

    return run_command(config, task)


@dlq.command("replay", epilog=examples(f"airy dlq replay {EXAMPLE}", f"airy dlq replay --all --topic {TOPIC} --yes"))
@letter_options
def replay_letters(**options: Any) -> int:
    """Append the original records to their topics again. Repeating it does nothing."""
    return _resolve("replay", **options)


@dlq.command("discard", epilog=examples(f"airy dlq discard {EXAMPLE} --reason 'a test'"))
@click.option("--reason", default="", help="why they are of no use, kept with them; at most 256 characters")
@letter_options
def discard_letters(**options: Any) -> int:
    """Mark dead letters as discarded; they are no longer listed as open."""
    return _resolve("discard", **options)


def _resolve(
    verb: Any,
    *,
    letters: Sequence[str],
    topic: str | None,
    everything: bool,
    yes: bool,
    kafka: str | None,
    instance: Instance,
    output: Output,
    reason: str = "",
) -> int:
    from airy.app import dead_letter_admin as admin
    from airy.cli.views.dead_letters import RESOLVED

    if bool(letters) == everything:
        raise click.UsageError("name dead letters, or pass --all")
    if everything and not yes and not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: pass --yes")
    config = load_config(instance.file, instance.data, kafka)

    async def task() -> int:
        outcomes = await admin.resolve(
            config,
            instance.url,
            instance.token,
            verb,
            letters,
            all_of=topic,
            everything=everything,
            confirm=lambda question: yes or click.confirm(question, err=True),
            reason=reason,
        )
        output.rows(RESOLVED, outcomes)
        return OK

    return run_command(config, task)
