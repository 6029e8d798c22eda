"""`airy topics …`: topics and ACLs of a Kafka cluster; topics and records of a running instance."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK, load_config, resolve_components, retired_option, run_command, topics_options
from airy.cli.output import ALL, Output, Screen, confirm, examples, limit_option, note, output_options, yes_option

if TYPE_CHECKING:
    from airy.bus.provision import TopicPlan

CHANGES = 2  # exit code of `plan`
DIFFERENT = 78
FOR_PEOPLE = Output("table", to_stderr=True)


@click.group()
def topics() -> None:
    """Show the topics of an instance, and browse their records; manage the topics and ACLs of a Kafka cluster."""


@topics.command(
    name="show",
    epilog=examples(
        "airy topics show",
        "airy topics show application.communication.events --json",
        "airy topics show application.communication.events --partitions",
    ),
)
@click.argument("names", metavar="[TOPIC]…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="also topics without records")
@click.option("--partitions", is_flag=True, help="each partition, with the position and the lag of each group in it")
@client_options
@output_options
def show_topics(names: Sequence[str], everything: bool, partitions: bool, instance: Instance, output: Output) -> int:
    """Show the topics of the instance, in the order of their definition, with records, offsets and the lag of each
    group. The token needs the permission operate.
    """
    from airy.cli.topic_records import print_topics

    return instance.run(
        lambda client: print_topics(client, output, names, everything=everything, partitions=partitions)
    )


@topics.command(
    name="browse",
    epilog=examples(
        "airy topics browse application.communication.events",
        "airy topics browse application.communication.events --key 0b7e9c2a-4f1d-5b0e-8d7a-6a1c2f3e4d5b --from -1d",
        "airy topics browse source.facebook.events --partition 3 --from 1204 --limit 0 -o ndjson",
        "airy topics browse ops.webhooks.attempts -f",
    ),
)
@click.argument("topic")
@click.option("--partition", "partitions", type=click.IntRange(0), multiple=True, help="only this one; repeatable")
@click.option("--key", help="only records with this key")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help="from an offset of one partition or a time on: 1204, 14:30, -15m. Default: the newest",
)
@click.option("--follow", "-f", is_flag=True, help="go on with records as they come, until Ctrl-C (exit code 130)")
@limit_option
@client_options
@output_options
def browse_topic(
    topic: str,
    partitions: Sequence[int],
    key: str | None,
    start: str | None,
    follow: bool,
    limit: int,
    instance: Instance,
    output: Output,
) -> int:
    """Print records of TOPIC, in order of time and without secrets. The token needs the permission inspect.

    With --follow the limit is of the first records only.
    """
    from airy.cli.following import where
    from airy.cli.topic_records import print_records

    request = {"topic": topic, "partitions": list(partitions) or None, "key": key, **(where(start) if start else {})}
    if limit == ALL and not start:
        request["direction"] = "newer"
    return instance.run(lambda client: print_records(client, output, request, limit, follow=follow))


@topics.command(name="list", epilog=examples("airy topics list --json"))
@output_options
def list_topics(output: Output) -> int:
    """List all topics, in the order of their definition, with the components that write and read them."""
    from airy import topics as declared
    from airy.app.topic_text import topic_rows
    from airy.cli.views.topics import DECLARED_TOPICS

    output.rows(DECLARED_TOPICS, topic_rows(declared.ALL))
    return OK


@topics.command(name="plan", epilog=examples("airy topics plan --kafka kafka:9092"))
@topics_options
@output_options
def plan_topics(file: Path | None, data: Path | None, kafka: str | None, output: Output) -> int:
    """Show what `apply` would change. Exit code 0: nothing; 2: changes; 78: changes it would refuse."""
    from airy.app import topic_admin

    config = load_config(file, data, kafka)

    async def task() -> int:
        found = await topic_admin.plan(config)
        _print_plan(found, output)
        return topic_admin.exit_code(found)

    return run_command(config, task)


@topics.command(name="check", epilog=examples("airy topics check --kafka kafka:9092"))
@topics_options
@output_options
def check_topics(file: Path | None, data: Path | None, kafka: str | None, output: Output) -> int:
    """Check the cluster's topics. Exit code 78: they differ, and the differences are on stderr."""
    from airy.app import topic_admin

    config = load_config(file, data, kafka)

    async def task() -> int:
        found = await topic_admin.plan(config)
        if output.format != "table" or found.empty:
            _print_plan(found, output)
        if not found.empty:
            _print_plan(found, FOR_PEOPLE)
        return OK if found.empty else DIFFERENT

    return run_command(config, task)


def _print_plan(found: "TopicPlan", output: Output) -> None:
    import msgspec

    from airy.app import topic_admin
    from airy.app.topic_text import coloured
    from airy.cli.views.topics import TOPIC_PLAN

    def text(screen: Screen) -> str:
        lines = topic_admin.plan_lines(found)
        return "\n".join(map(coloured, lines) if screen.coloured else lines)

    output.one(TOPIC_PLAN, msgspec.to_builtins(found), text=text)


@topics.command(name="apply", epilog=examples("airy topics apply --kafka kafka:9092 --yes"))
@topics_options
@yes_option
@output_options
def apply_topics(file: Path | None, data: Path | None, kafka: str | None, yes: bool, output: Output) -> int:
    """Create and alter topics; refuses changes that would need more than that."""
    import msgspec

    from airy.app import topic_admin
    from airy.cli.views.topics import TOPIC_CHANGES

    config = load_config(file, data, kafka)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is not a terminal: pass --yes")

        async def shown() -> int:
            found = await topic_admin.plan(config)
            _print_plan(found, FOR_PEOPLE)
            return topic_admin.exit_code(found)

        code = run_command(config, shown)
        if code != CHANGES:
            return code
        confirm("apply these changes?", yes=False)

    async def task() -> int:
        changes: list[topic_admin.TopicChange] = []
        try:
            after = await topic_admin.apply(config, changes.append)
        finally:
            output.rows(TOPIC_CHANGES, msgspec.to_builtins(changes))
        note(f"{len(after.unchanged)} topics are right")
        return OK

    return run_command(config, task)


@topics.command(name="acls", epilog=examples("airy topics acls http", "airy topics acls http --commands"))
@click.argument("names", metavar="[COMPONENT]…", nargs=-1)
@topics_options
@click.option(
    "--principal-prefix",
    "prefix",
    default="User:airy-",
    show_default=True,
    help="prefix of the principal; the component follows",
)
@click.option("--commands", is_flag=True, help="print commands for kafka-acls.sh in place of the table")
@click.option("--apply", "applying", is_flag=True, help="create the ACLs at the cluster; removes none")
@retired_option("--format", "it is --output now, and --commands for kafka-acls.sh")
@output_options
def acls(
    names: Sequence[str],
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    prefix: str,
    commands: bool,
    applying: bool,
    output: Output,
) -> int:
    """Print the minimal ACLs of each component."""
    import msgspec

    from airy.app import topic_admin
    from airy.app.topic_text import acl_commands, acl_lines
    from airy.cli.views.topics import ACLS

    if commands and output.format != "table":
        raise click.UsageError("--commands: not with --output")

    config = load_config(file, data, kafka)
    lists = topic_admin.component_acls(config, resolve_components(names), prefix)
    lines = acl_commands(lists, config.bus.kafka.bootstrap) if commands else acl_lines(lists)
    output.rows(ACLS, msgspec.to_builtins(lists), text=lambda _: "\n".join(lines))

    async def allow() -> int:
        await topic_admin.allow(config, lists)
        note(f"{len(lists)} ACLs created or already present")
        return OK

    return run_command(config, allow) if applying else OK
