"""What the configuration says about Redis, as the queue takes it; and what an access list of Redis has to hold."""

import sys
from pathlib import Path

from airy.actors.webhooks.queue_redis import Server, permissions
from airy.actors.webhooks.queue_redis.keys import Names
from airy.config import Config
from airy.errors import Refused

OK = 0


def redis_server(config: Config) -> Server:
    given = config.queue.redis
    if given.url is None:
        raise Refused("no redis is configured: set queue.redis.url, or AIRY_REDIS", field="queue.redis.url")
    return Server(
        url=given.url,
        cluster=given.cluster,
        sentinels=given.sentinels,
        ca_file=_path(given.ca_file),
        cert_file=_path(given.cert_file),
        key_file=_path(given.key_file),
    )


def show_acl(config: Config, user: str) -> int:
    """The command that makes the user of the queue, but for its password."""
    given = config.queue.redis
    words = " ".join(permissions.rules(Names(given.namespace), cluster=given.cluster))
    sys.stdout.write(f"ACL SETUSER {user} on >PASSWORD {words}\n")
    return OK


def _path(given: str | None) -> str | None:
    return str(Path(given).expanduser()) if given else None
