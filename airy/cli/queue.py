"""`airy queue …`: the webhook queue in Redis."""

from pathlib import Path

import rich_click as click

from airy.cli.options import config_options, load_config
from airy.cli.output import examples


@click.group()
def queue() -> None:
    """Manage the webhook queue in Redis."""


@queue.command(name="acl", epilog=examples("airy queue acl --user airy"))
@config_options
@click.option("--user", default="airy", show_default=True, help="user name in Redis")
def queue_acl(file: Path | None, data: Path | None, user: str) -> int:
    """Print the redis-cli command that creates the queue's user; replace PASSWORD in it."""
    from airy.app.redis import show_acl

    return show_acl(load_config(file, data), user)
