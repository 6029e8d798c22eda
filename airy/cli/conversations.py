"""`airy conversations …`"""

from collections.abc import Sequence

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.output import Output, examples, limit_option, output_options
from airy.cli.tag_names import tag_id

EXAMPLE = "0b7e9c2a-4f1d-5b0e-8d7a-6a1c2f3e4d5b"
IDS = click.argument("ids", metavar="ID…", nargs=-1, required=True)


@click.group()
def conversations() -> None:
    """List conversations, and change their tags and state."""


@conversations.command(
    "list",
    epilog=examples(
        "airy conversations list",
        "airy conversations list --filter 'metadata.state:OPEN AND unread_count:[1 TO *]'",
        "airy conversations list --filter 'Brown' --limit 0 -o ndjson | jq -r .id",
    ),
)
@click.option("--filter", "filters", metavar="QUERY", help="only those that match; docs/filters.md has the language")
@limit_option
@client_options
@output_options
def list_conversations(filters: str | None, limit: int, instance: Instance, output: Output) -> int:
    """List conversations, latest activity first."""
    from airy.cli.views.conversations import CONVERSATIONS

    return instance.list(output, CONVERSATIONS, "/conversations.list", {"filters": filters}, limit=limit)


@conversations.command("show", epilog=examples(f"airy conversations show {EXAMPLE} --json"))
@click.argument("conversation_id", metavar="ID")
@client_options
@output_options
def show_conversation(conversation_id: str, instance: Instance, output: Output) -> int:
    """Show one conversation."""
    from airy.cli.views.conversations import CONVERSATION

    return instance.show(output, CONVERSATION, "/conversations.info", {"conversation_id": conversation_id})


@conversations.command("tag", epilog=examples(f"airy conversations tag {EXAMPLE} --tag urgent"))
@IDS
@click.option("--tag", "name", required=True, metavar="TAG", help="name or id of the tag")
@client_options
@output_options
def tag_conversations(ids: Sequence[str], name: str, instance: Instance, output: Output) -> int:
    """Add a tag to conversations. Repeating it does nothing."""
    return instance.change(output, "tagged", "/conversations.tag", _bodies(ids), common=tag_id(name))


@conversations.command("untag", epilog=examples(f"airy conversations untag {EXAMPLE} --tag urgent"))
@IDS
@click.option("--tag", "name", required=True, metavar="TAG", help="name or id of the tag")
@client_options
@output_options
def untag_conversations(ids: Sequence[str], name: str, instance: Instance, output: Output) -> int:
    """Remove a tag from conversations."""
    return instance.change(output, "untagged", "/conversations.untag", _bodies(ids), common=tag_id(name))


@conversations.command(
    "state",
    epilog=examples(
        f"airy conversations state {EXAMPLE} --set CLOSED",
        "airy conversations list -o ndjson --limit 0 | jq -r .id | xargs airy conversations state --set CLOSED",
        f"airy conversations state {EXAMPLE} --remove",
    ),
)
@IDS
@click.option("--set", "state", metavar="STATE", help="any text, by convention OPEN or CLOSED")
@click.option("--remove", is_flag=True, help="leave them without a state")
@client_options
@output_options
def set_state(ids: Sequence[str], state: str | None, remove: bool, instance: Instance, output: Output) -> int:
    """Set or remove the state of conversations."""
    if (state is None) is not remove:
        raise click.UsageError("pass either --set STATE or --remove")
    if remove:
        return instance.change(output, "state removed", "/conversations.remove-state", _bodies(ids))
    return instance.change(output, f"state {state}", "/conversations.set-state", _bodies(ids, state=state))


@conversations.command("read", epilog=examples(f"airy conversations read {EXAMPLE}"))
@IDS
@client_options
@output_options
def mark_read(ids: Sequence[str], instance: Instance, output: Output) -> int:
    """Mark all messages of conversations as read; some providers show that to the contact."""
    return instance.change(output, "read", "/conversations.mark-read", _bodies(ids))


def _bodies(ids: Sequence[str], **common: object) -> dict[str, dict[str, object]]:
    return {each: {"conversation_id": each, **common} for each in ids}
