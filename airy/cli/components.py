"""`airy components …`"""

from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK
from airy.cli.output import Output, examples, output_options

if TYPE_CHECKING:
    from airy.api_client import ApiClient


@click.group()
def components() -> None:
    """Show the components of an instance."""


@components.command("list", epilog=examples("airy components list", "airy components list --json"))
@client_options
@output_options
def list_components(instance: Instance, output: Output) -> int:
    """List components by name: whether each is enabled, and whether a process is ready that runs it."""
    from airy.cli.views.components import COMPONENTS

    async def task(client: "ApiClient") -> int:
        services = (await client.call("/client.config", {}, dict[str, Any]))["services"]
        output.rows(COMPONENTS, [{"service": name, **service} for name, service in services.items()])
        return OK

    return instance.run(task)
