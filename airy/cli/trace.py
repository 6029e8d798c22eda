"""`airy trace`: one message end to end."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK
from airy.cli.output import Output, examples, note, output_options

if TYPE_CHECKING:
    from airy.api_client import ApiClient

MESSAGE = "b3f1c6de-90a4-5c7d-9f58-1d2e3c4b5a69"


@click.command(
    epilog=examples(
        f"airy trace {MESSAGE}",
        "airy trace wamid.HBgLNDkzMDEyMzQ1Njc4FQIAERgSQUE= --source whatsapp",
        f"airy trace {MESSAGE} -o ndjson | jq 'select(.kind == \"delivery.attempt\")'",
    )
)
@click.argument("id_", metavar="ID")
@click.option("--channel", "channel_id", metavar="ID", help="the channel, if several messages have the id")
@click.option("--source", help="the source, likewise")
@client_options
@output_options
def trace(id_: str, channel_id: str | None, source: str | None, instance: Instance, output: Output) -> int:
    """Show what happened to a message, from the provider's webhook to its last delivery.

    ID is that of the message, the provider's, or that of a conversation, whose last message is shown.
    """
    from airy.cli.views.traces import HOPS

    async def task(client: "ApiClient") -> int:
        body = {"id": id_, "channel_id": channel_id, "source": source}
        found = await client.call("/messages.trace", body, dict[str, Any])
        output.rows(HOPS, found["hops"])
        whole = "" if found["complete"] else "; not all delivery attempts were searched"
        note(f"message {found['message']['id']} of conversation {found['conversation_id']}{whole}")
        return OK

    return instance.run(task)
