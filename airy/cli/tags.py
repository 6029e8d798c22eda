"""`airy tags …`"""

from collections.abc import Sequence

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.output import Output, confirm, examples, output_options, yes_option

EXAMPLE = "9d8c7b6a-5f4e-5d3c-8b2a-1f0e9d8c7b6a"
COLORS = ("red", "green", "blue", "purple")


@click.group()
def tags() -> None:
    """List, create, change and delete tags; `airy conversations tag` uses them."""


@tags.command("list", epilog=examples("airy tags list", "airy tags list --json"))
@client_options
@output_options
def list_tags(instance: Instance, output: Output) -> int:
    """List tags by name."""
    from airy.cli.views.tags import TAGS

    return instance.list(output, TAGS, "/tags.list", {}, paged=False)


@tags.command("create", epilog=examples("airy tags create urgent --color red"))
@click.argument("name")
@click.option("--color", type=click.Choice(COLORS), default="blue", show_default=True)
@client_options
@output_options
def create_tag(name: str, color: str, instance: Instance, output: Output) -> int:
    """Create a tag."""
    from airy.cli.views.tags import TAG

    return instance.show(output, TAG, "/tags.create", {"name": name, "color": f"tag-{color}"})


@tags.command("update", epilog=examples(f"airy tags update {EXAMPLE} --name later --color green"))
@click.argument("tag_id", metavar="ID")
@click.option("--name")
@click.option("--color", type=click.Choice(COLORS))
@client_options
@output_options
def update_tag(tag_id: str, name: str | None, color: str | None, instance: Instance, output: Output) -> int:
    """Change the name or the colour of a tag."""
    if name is None and color is None:
        raise click.UsageError("pass --name, --color, or both")
    body = {"id": tag_id, "name": name, "color": color and f"tag-{color}"}
    return instance.change(output, "updated", "/tags.update", {tag_id: body})


@tags.command("delete", epilog=examples(f"airy tags delete {EXAMPLE} --yes"))
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@yes_option
@client_options
@output_options
def delete_tags(ids: Sequence[str], yes: bool, instance: Instance, output: Output) -> int:
    """Delete tags. Conversations keep their ids."""
    confirm(f"Delete {', '.join(ids)}? Conversations with such a tag show its id from then on.", yes=yes)
    return instance.change(output, "deleted", "/tags.delete", {each: {"id": each} for each in ids})
