"""`airy token …`: the API tokens of an installation."""

from pathlib import Path
from typing import Any, get_args

import rich_click as click

from airy.cli.options import Command, config_options, json_option, load_config, run_command
from airy.permissions import GrantedPermission, GrantedRole, outside_role

DAY_S = 86_400


@click.group()
def token() -> None:
    """Create, list and revoke API tokens."""


def caller_options(command: Command) -> Command:
    """Which process to ask, and as which caller."""
    url_help = "process to ask, with --token; default: the configured one"
    command = click.option("--url", envvar="AIRY_URL", help=url_help)(command)
    command = click.option("--token", "caller", envvar="AIRY_TOKEN", help="API token with the role admin")(command)
    return config_options(json_option(command))


@token.command()
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
@caller_options
def create(
    name: str,
    role: Any,
    permissions: Any,
    days: int,
    file: Path | None,
    data: Path | None,
    url: str | None,
    caller: str | None,
    as_json: bool,
) -> int:
    """Create an API token named NAME and print it: it cannot be shown again."""
    from airy.app import token_admin as admin

    if not role and not permissions:
        raise click.UsageError("pass --role, --permission, or both")
    if reason := outside_role(role, permissions):
        raise click.UsageError(reason)
    config = load_config(file, data)
    body = {"name": name, "role": role, "permissions": list(permissions), "expires_in_s": days * DAY_S}
    return run_command(config, lambda: admin.create(config, url, caller, body, as_json=as_json))


@token.command("list")
@caller_options
def list_tokens(file: Path | None, data: Path | None, url: str | None, caller: str | None, as_json: bool) -> int:
    """List API tokens, also expired and revoked ones; those of the configuration are not listed."""
    from airy.app import token_admin as admin

    config = load_config(file, data)
    return run_command(config, lambda: admin.show_list(config, url, caller, as_json=as_json))


@token.command()
@click.argument("token_id", metavar="ID")
@caller_options
def revoke(
    token_id: str, file: Path | None, data: Path | None, url: str | None, caller: str | None, as_json: bool
) -> int:
    """Revoke the API token ID; `airy token list` has the ids."""
    from airy.app import token_admin as admin

    config = load_config(file, data)
    return run_command(config, lambda: admin.revoke(config, url, caller, token_id, as_json=as_json))
