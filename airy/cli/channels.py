"""`airy channels …`"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.entered import assignments
from airy.cli.options import OK
from airy.cli.output import Output, confirm, examples, output_options, yes_option

if TYPE_CHECKING:
    from airy.api_client import ApiClient

EXAMPLE = "5a1f0c3b-7d2e-4b6a-9c8d-0e1f2a3b4c5d"


@click.group()
def channels() -> None:
    """List, connect, update and disconnect channels."""


@channels.command("list", epilog=examples("airy channels list", "airy channels list --source telegram --json"))
@click.option("--source", help="only channels of this source")
@client_options
@output_options
def list_channels(source: str | None, instance: Instance, output: Output) -> int:
    """List connected channels, by source and id, with what is wrong with them."""
    from airy.cli.views.channels import CHANNELS

    return instance.list(output, CHANNELS, "/channels.list", {"source": source}, paged=False)


@channels.command("show", epilog=examples(f"airy channels show {EXAMPLE}"))
@click.argument("channel_id", metavar="ID")
@client_options
@output_options
def show_channel(channel_id: str, instance: Instance, output: Output) -> int:
    """Show one channel."""
    from airy.cli.views.channels import CHANNEL

    return instance.show(output, CHANNEL, "/channels.info", {"channel_id": channel_id})


@channels.command("kinds", epilog=examples("airy channels kinds"))
@client_options
@output_options
def list_kinds(instance: Instance, output: Output) -> int:
    """List the kinds of channels that can be connected, and the fields of each; those with ? are optional."""
    from airy.cli.connect_form import kind_row, kinds
    from airy.cli.views.channels import CHANNEL_KINDS

    async def task(client: "ApiClient") -> int:
        output.rows(CHANNEL_KINDS, [kind_row(each) for each in await kinds(client)])
        return OK

    return instance.run(task)


@channels.command(
    epilog=examples(
        "airy channels connect telegram --set bot_token=@token.txt --set name=Support", "airy channels connect viber"
    )
)
@click.argument("kind")
@click.option(
    "--set", "given", metavar="NAME=VALUE", multiple=True, help="a field; @FILE reads the value, @- reads stdin"
)
@client_options
@output_options
def connect(kind: str, given: Sequence[str], instance: Instance, output: Output) -> int:
    """Connect a channel of KIND; required fields that are missing are asked for on a terminal, secrets hidden."""
    from airy.cli import connect_form
    from airy.cli.views.channels import CONNECTED_CHANNEL

    async def task(client: "ApiClient") -> int:
        chosen = connect_form.find(await connect_form.kinds(client), kind)
        body = connect_form.complete(chosen, assignments("--set", given))
        output.one(CONNECTED_CHANNEL, await client.call(chosen.path, body, dict[str, Any]))
        return OK

    return instance.run(task)


@channels.command("update", epilog=examples(f"airy channels update {EXAMPLE} --name Support"))
@click.argument("channel_id", metavar="ID")
@click.option("--name", help="as people know it")
@click.option("--image-url", "image_url", help="of its picture")
@client_options
@output_options
def update_channel(channel_id: str, name: str | None, image_url: str | None, instance: Instance, output: Output) -> int:
    """Change the name or the picture of a channel."""
    from airy.cli.views.channels import CHANNEL

    if name is None and image_url is None:
        raise click.UsageError("pass --name, --image-url, or both")
    body = {"channel_id": channel_id, "name": name, "image_url": image_url}
    return instance.show(output, CHANNEL, "/channels.update", body)


@channels.command("disconnect", epilog=examples(f"airy channels disconnect {EXAMPLE} --yes"))
@click.argument("channel_id", metavar="ID")
@yes_option
@client_options
@output_options
def disconnect(channel_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """Disconnect a channel: it receives and sends nothing more. Its conversations stay."""
    from airy.cli.views.outcomes import OUTCOMES
    from airy.tui.channel_disconnect import disconnect_channel

    async def task(client: "ApiClient") -> int:
        channel = await client.call("/channels.info", {"channel_id": channel_id}, dict[str, Any])
        name = channel["metadata"].get("name") or channel["source_channel_id"]
        confirm(f"Disconnect the {channel['source']} channel {name}? It receives and sends nothing more.", yes=yes)
        await disconnect_channel(client, channel_id, channel["source"])
        output.rows(OUTCOMES, [{"id": channel_id, "result": "disconnected"}])
        return OK

    return instance.run(task)
