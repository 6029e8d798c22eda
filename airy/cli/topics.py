"""`airy topics …`: topics and ACLs of a Kafka cluster; topics and records of a running instance."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK, load_config, resolve_components, run_command, topics_options
from airy.cli.output import ALL, Output, examples, limit_option, output_options, yes_option

if TYPE_CHECKING:
    from airy.bus.provision import TopicPlan

CHANGES = 2  # exit code of `plan`
DIFFERENT = 78


@click.group()
def topics() -> None:
    """Show the topics of an instance, and browse their records; manage the topics and ACLs of a Kafka cluster."""


@topics.command(
    name="show", epilog=examples("airy topics show", "airy topics show application.communication.events --json")
)
@click.argument("names", metavar="[TOPIC]…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="also topics without records")
@client_options
@output_options
def show_topics(names: Sequence[str], everything: bool, instance: Instance, output: Output) -> int:
    """Show the topics of the instance, in the order of their definition, with records, offsets and the lag of each
    group. The token needs the permission operate.
    """
    from airy.cli.topic_records import print_topics

    return instance.run(lambda client: print_topics(client, output, names, everything=everything))


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
            topic_admin.print_plan(found, sys.stderr)
        return OK if found.empty else DIFFERENT

    return run_command(config, task)


def _print_plan(found: "TopicPlan", output: Output) -> None:
    import msgspec

    from airy.app import topic_admin
    from airy.cli.views.topics import TOPIC_PLAN

    if output.format == "table":
        topic_admin.print_plan(found, sys.stdout)
    else:
        output.one(TOPIC_PLAN, msgspec.to_builtins(found))


@topics.command(name="apply", epilog=examples("airy topics apply --kafka kafka:9092 --yes"))
@topics_options
@yes_option
def apply_topics(file: Path | None, data: Path | None, kafka: str | None, yes: bool) -> int:
    """Create and alter topics; refuses changes that would need more than that."""
    from airy.app import topic_admin

    config = load_config(file, data, kafka)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is not a terminal: pass --yes")

        async def shown() -> int:
            found = await topic_admin.plan(config)
            topic_admin.print_plan(found, sys.stdout)
            return topic_admin.exit_code(found)

        code = run_command(config, shown)
        if code != CHANGES:
            return code
        click.confirm("apply these changes?", abort=True)
    return run_command(config, lambda: topic_admin.apply(config))


@topics.command(name="acls", epilog=examples("airy topics acls http --format kafka-acls"))
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

    config = load_config(file, data, kafka)
    lists = topic_admin.component_acls(config, resolve_components(names), prefix)
    code = topic_admin.show_acls(config, lists, form)
    return run_command(config, lambda: topic_admin.allow(config, lists)) if applying else code
