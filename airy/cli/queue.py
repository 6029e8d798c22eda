"""`airy queue …`: the webhook queue in Redis."""

from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, load_config
from airy.cli.output import Output, examples, output_options


@click.group()
def queue() -> None:
    """Manage the webhook queue in Redis."""


@queue.command(name="acl", epilog=examples("airy queue acl --user airy", "airy queue acl --json"))
@config_options
@click.option("--user", default="airy", show_default=True, help="user name in Redis")
@output_options
def queue_acl(file: Path | None, data: Path | None, user: str, output: Output) -> int:
    """Print the redis-cli command that creates the queue's user; replace PASSWORD in it."""
    import msgspec

    from airy.app.redis import redis_user
    from airy.cli.views.redis import REDIS_USER

    found = redis_user(load_config(file, data), user)
    output.one(REDIS_USER, msgspec.to_builtins(found), text=lambda _: found.command)
    return OK
