"""`airy user …`"""

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.output import Output, confirm, examples, limit_option, output_options, yes_option


@click.group()
def user() -> None:
    """List the people who logged in or wrote, and end their sessions."""


@user.command("list", epilog=examples("airy user list", "airy user list --json"))
@limit_option
@client_options
@output_options
def list_users(limit: int, instance: Instance, output: Output) -> int:
    """List users by id."""
    from airy.cli.views.users import USERS

    return instance.list(output, USERS, "/users.list", {}, limit=limit)


@user.command("log-out", epilog=examples("airy user log-out github:ada --yes"))
@click.argument("user_id", metavar="ID")
@yes_option
@client_options
@output_options
def log_out(user_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """End all sessions of a user. The asking token needs the permission administer."""
    confirm(f"End all sessions of {user_id}, who has to log in again?", yes=yes)
    return instance.change(output, "logged out", "/users.revoke-sessions", {user_id: {"id": user_id}})
