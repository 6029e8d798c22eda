"""Maps the configuration to the Redis queue's settings, and to the user that the queue needs in Redis."""

from pathlib import Path

from msgspec import Struct

from airy.config import Config
from airy.errors import Refused
from airy.queue.redis import RedisSettings, permissions
from airy.queue.redis.keys import KeyNames


class RedisUser(Struct, frozen=True):
    """The user that the queue needs in Redis. In `command` the password is a placeholder."""

    user: str
    rules: tuple[str, ...]
    command: str


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


def redis_user(config: Config, user: str) -> RedisUser:
    section = config.queue.redis
    rules = tuple(permissions.rules(KeyNames(section.namespace), cluster=section.cluster))
    return RedisUser(user, rules, f"ACL SETUSER {user} on >PASSWORD {' '.join(rules)}")


def _path(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None
