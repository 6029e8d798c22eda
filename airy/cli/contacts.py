"""`airy contacts …`"""

from collections.abc import Sequence
from typing import Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.entered import assignments, json_value
from airy.cli.options import Command
from airy.cli.output import Output, confirm, examples, limit_option, output_options, yes_option

EXAMPLE = "7c4b2e1a-3d5f-5a6b-8c9d-0f1e2d3c4b5a"
OTHER = "1f2e3d4c-5b6a-5978-8a9b-acbdcedf0123"


@click.group()
def contacts() -> None:
    """List, create, change, merge and delete contacts."""


def field_options(command: Command) -> Command:
    """The fields of a contact; an empty text removes a value."""
    for name, text in reversed(
        (
            ("display-name", "the name"),
            ("title", "the title"),
            ("gender", "the gender"),
            ("locale", "the locale, such as de-DE"),
            ("organization-name", "the organization"),
            ("avatar-url", "the address of a picture"),
        )
    ):
        command = click.option(f"--{name}", help=f"{text}; '' removes it")(command)
    for name, text in (("address", "a part of the address, such as city"), ("via", "an entry of via, such as email")):
        command = click.option(f"--{name}", metavar="NAME=VALUE", multiple=True, help=text)(command)
    return click.option("--metadata", metavar="JSON", help="any JSON object; @FILE reads it, @- stdin")(command)


@contacts.command("list", epilog=examples("airy contacts list", "airy contacts list --limit 0 -o ndjson"))
@limit_option
@client_options
@output_options
def list_contacts(limit: int, instance: Instance, output: Output) -> int:
    """List contacts by name, those without a name last."""
    from airy.cli.views.contacts import CONTACTS

    return instance.list(output, CONTACTS, "/contacts.list", {}, limit=limit)


@contacts.command(
    "show", epilog=examples(f"airy contacts show {EXAMPLE}", f"airy contacts show --conversation {OTHER}")
)
@click.argument("contact_id", metavar="[ID]", required=False)
@click.option("--conversation", metavar="ID", help="the contact of this conversation")
@client_options
@output_options
def show_contact(contact_id: str | None, conversation: str | None, instance: Instance, output: Output) -> int:
    """Show one contact."""
    from airy.cli.views.contacts import CONTACT

    if bool(contact_id) is bool(conversation):
        raise click.UsageError("name a contact, or pass --conversation")
    body = {"id": contact_id} if contact_id else {"conversation_id": conversation}
    return instance.show(output, CONTACT, "/contacts.info", body)


@contacts.command(
    "create", epilog=examples("airy contacts create --display-name 'Ada Brown' --via email=ada@example.net")
)
@field_options
@client_options
@output_options
def create_contact(instance: Instance, output: Output, **given: Any) -> int:
    """Create a contact."""
    from airy.cli.views.contacts import CONTACT

    return instance.show(output, CONTACT, "/contacts.create", _fields(given))


@contacts.command(
    "update", epilog=examples(f"airy contacts update {EXAMPLE} --organization-name Fairchild --address city=Berlin")
)
@click.argument("contact_id", metavar="ID")
@field_options
@click.option("--version", type=int, help="as it was read: 65 if it was changed meanwhile")
@client_options
@output_options
def update_contact(contact_id: str, version: int | None, instance: Instance, output: Output, **given: Any) -> int:
    """Set fields of a contact; the others stay."""
    fields = _fields(given)
    if not fields:
        raise click.UsageError("pass at least one field to set")
    body = {"id": contact_id, "version": version, **fields}
    return instance.change(output, "updated", "/contacts.update", {contact_id: body})


@contacts.command("merge", epilog=examples(f"airy contacts merge {EXAMPLE} --into {OTHER} --yes"))
@click.argument("source_id", metavar="ID")
@click.option("--into", "destination_id", metavar="ID", required=True, help="the contact that stays")
@yes_option
@client_options
@output_options
def merge_contacts(source_id: str, destination_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """Merge a contact into another one, which keeps its values and gets those it has not."""
    from airy.cli.views.contacts import MERGED_CONTACT

    confirm(f"Merge contact {source_id} into {destination_id}? The first one is gone afterwards.", yes=yes)
    body = {"source_id": source_id, "destination_id": destination_id}
    return instance.show(output, MERGED_CONTACT, "/contacts.merge", body)


@contacts.command("delete", epilog=examples(f"airy contacts delete {EXAMPLE} --yes"))
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@yes_option
@client_options
@output_options
def delete_contacts(ids: Sequence[str], yes: bool, instance: Instance, output: Output) -> int:
    """Delete contacts. Another message in one of their conversations makes a new one."""
    confirm(f"Delete {', '.join(ids)}? What is stored about the contact is gone.", yes=yes)
    return instance.change(output, "deleted", "/contacts.delete", {each: {"id": each} for each in ids})


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request; those that were not given are absent."""
    fields = {name: value for name, value in given.items() if value is not None}
    for name in ("address", "via"):
        fields[name] = assignments(f"--{name}", fields[name])
    if "metadata" in fields:
        fields["metadata"] = json_value("--metadata", fields["metadata"])
    return {name: value for name, value in fields.items() if value != {}}
