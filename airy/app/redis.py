"""Maps the configuration to the Redis queue's settings; prints the ACL the queue needs in Redis."""

import sys
from pathlib import Path

from airy.config import Config
from airy.errors import Refused
from airy.queue.redis import RedisSettings, permissions
from airy.queue.redis.keys import KeyNames

OK = 0


def redis_server(config: Config) -> RedisSettings:
    section = config.queue.redis
    if section.url is None:
        raise Refused("no redis is configured: set queue.redis.url, or AIRY_REDIS", field="queue.redis.url")
    return RedisSettings(
        url=section.url,
        cluster=section.cluster,
        sentinels=section.sentinels,
        ca_file=_path(section.ca_file),
        cert_file=_path(section.cert_file),
        key_file=_path(section.key_file),
    )


def show_acl(config: Config, user: str) -> int:
    """Prints the command that creates the queue's user; the password is a placeholder."""
    section = config.queue.redis
    rules = " ".join(permissions.rules(KeyNames(section.namespace), cluster=section.cluster))
    sys.stdout.write(f"ACL SETUSER {user} on >PASSWORD {rules}\n")
    return OK


def _path(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None
