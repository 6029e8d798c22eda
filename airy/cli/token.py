"""`airy token …`: the API tokens of an installation."""

from typing import Any, get_args

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.output import Output, confirm, examples, output_options, yes_option
from airy.permissions import GrantedPermission, GrantedRole, outside_role

DAY_S = 86_400


@click.group()
def token() -> None:
    """Create, list and revoke API tokens. The asking token needs the permission administer."""


@token.command(
    epilog=examples(
        "airy token create reports --role analyst --days 90",
        "airy token create crm --permission read --permission write --json",
    )
)
@click.argument("name")
@click.option("--role", type=click.Choice(get_args(GrantedRole)), help="what the token may do")
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(get_args(GrantedPermission)),
    multiple=True,
    help="only this permission, of the role or of all; repeat it for several",
)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="until it expires")
@client_options
@output_options
def create(name: str, role: Any, permissions: Any, days: int, instance: Instance, output: Output) -> int:
    """Create an API token named NAME and print it: it cannot be shown again."""
    from airy.cli.views.tokens import CREATED_TOKEN

    if not role and not permissions:
        raise click.UsageError("pass --role, --permission, or both")
    if reason := outside_role(role, permissions):
        raise click.UsageError(reason)
    body = {"name": name, "role": role, "permissions": list(permissions), "expires_in_s": days * DAY_S}
    return instance.show(output, CREATED_TOKEN, "/tokens.create", body)


@token.command("list", epilog=examples("airy token list", "airy token list -o ndjson"))
@client_options
@output_options
def list_tokens(instance: Instance, output: Output) -> int:
    """List API tokens, oldest first, also expired and revoked ones; those of the configuration are not listed."""
    from airy.cli.views.tokens import TOKENS

    return instance.list(output, TOKENS, "/tokens.list", {}, paged=False)


@token.command(epilog=examples("airy token revoke 5c6f7d38-5f0f-4c1e-9c0a-2f5f3ad9a2a1 --yes"))
@click.argument("token_id", metavar="ID")
@yes_option
@client_options
@output_options
def revoke(token_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """Revoke the API token ID; `airy token list` has the ids."""
    from airy.cli.views.tokens import TOKEN

    confirm(f"Revoke the API token {token_id}? Programs that use it are refused at once.", yes=yes)
    return instance.show(output, TOKEN, "/tokens.revoke", {"id": token_id})
