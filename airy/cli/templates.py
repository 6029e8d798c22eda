"""`airy templates …`"""

from collections.abc import Sequence

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.entered import json_value
from airy.cli.output import Output, confirm, examples, output_options, yes_option

EXAMPLE = "2b3c4d5e-6f70-5182-9394-a5b6c7d8e9f0"
CONTENT_HELP = "content of a message; @FILE reads it, @- stdin"


@click.group()
def templates() -> None:
    """List, create, change and delete templates of messages."""


@templates.command("list", epilog=examples("airy templates list --source facebook --name hours"))
@click.option("--source", required=True, help="the source whose templates to list")
@click.option("--name", help="only those whose name contains this")
@client_options
@output_options
def list_templates(source: str, name: str | None, instance: Instance, output: Output) -> int:
    """List the templates of a source by name."""
    from airy.cli.views.templates import TEMPLATES

    return instance.list(output, TEMPLATES, "/templates.list", {"source": source, "name": name}, paged=False)


@templates.command("show", epilog=examples(f"airy templates show {EXAMPLE} -o yaml"))
@click.argument("template_id", metavar="ID")
@client_options
@output_options
def show_template(template_id: str, instance: Instance, output: Output) -> int:
    """Show one template."""
    from airy.cli.views.templates import TEMPLATE

    return instance.show(output, TEMPLATE, "/templates.info", {"id": template_id})


@templates.command(
    "create",
    epilog=examples("""airy templates create hours --source facebook --content '{"text": "We open at nine."}'"""),
)
@click.argument("name")
@click.option("--source", required=True, help="the source that takes such content")
@click.option("--content", metavar="JSON", required=True, help=CONTENT_HELP)
@client_options
@output_options
def create_template(name: str, source: str, content: str, instance: Instance, output: Output) -> int:
    """Create a template."""
    from airy.cli.views.templates import TEMPLATE

    body = {"name": name, "source": source, "content": json_value("--content", content)}
    return instance.show(output, TEMPLATE, "/templates.create", body)


@templates.command("update", epilog=examples(f"airy templates update {EXAMPLE} --content @hours.json"))
@click.argument("template_id", metavar="ID")
@click.option("--name")
@click.option("--source", help="the source that takes such content")
@click.option("--content", metavar="JSON", help=CONTENT_HELP)
@client_options
@output_options
def update_template(
    template_id: str, name: str | None, source: str | None, content: str | None, instance: Instance, output: Output
) -> int:
    """Change a template; what is not given stays."""
    from airy.cli.views.templates import TEMPLATE

    if name is None and source is None and content is None:
        raise click.UsageError("pass --name, --source or --content")
    entered = None if content is None else json_value("--content", content)
    body = {"id": template_id, "name": name, "source": source, "content": entered}
    return instance.show(output, TEMPLATE, "/templates.update", body)


@templates.command("delete", epilog=examples(f"airy templates delete {EXAMPLE} --yes"))
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@yes_option
@client_options
@output_options
def delete_templates(ids: Sequence[str], yes: bool, instance: Instance, output: Output) -> int:
    """Delete templates."""
    confirm(f"Delete {', '.join(ids)}?", yes=yes)
    return instance.change(output, "deleted", "/templates.delete", {each: {"id": each} for each in ids})
