"""The minimal ACL of the queue's Redis user: commands, key patterns, channel.

The commands of the scripts are extracted from the scripts, so none can be omitted; those of the client are listed.
`tests/queue/redis/test_access.py` runs the whole contract as a user with exactly these, and revokes one at a time.
"""

import re
from collections.abc import Iterable

from airy.queue.redis import scripts
from airy.queue.redis.keys import KeyNames

CLIENT = (
    "DEL",
    "EVALSHA",
    "GET",
    "HMGET",
    "INFO",
    "PUBLISH",
    "SADD",
    "SCRIPT|LOAD",
    "SETNX",
    "SMEMBERS",
    "SUBSCRIBE",
    "TIME",
    "XADD",
    "XREVRANGE",
)
CLUSTER = ("CLUSTER|SLOTS", "COMMAND")
"""Commands of a cluster client: the slot map, and the positions of keys in a command."""

_ON_CHANNELS = {"PUBLISH", "SUBSCRIBE"}
_WITHOUT_KEYS = {*CLUSTER, "EVALSHA", "INFO", "SCRIPT|LOAD", "TIME"}
_SUBCOMMANDS = {"XINFO": "XINFO|STREAM"}
_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'")


def commands(*, cluster: bool) -> list[str]:
    called = {name for script in scripts.ALL for name in _CALLED.findall(script.text)}
    return sorted({*CLIENT, *(CLUSTER if cluster else ()), *(_SUBCOMMANDS.get(name, name) for name in called)})


def probes(names: KeyNames, *, cluster: bool) -> Iterable[str]:
    """Arguments of `denied_commands.lua`: each command and the key or channel to check it on, or an empty text."""
    for name in commands(cluster=cluster):
        if name in _WITHOUT_KEYS:
            yield from (name, "")
        else:
            yield from (name, names.arrivals if name in _ON_CHANNELS else names.shards)


def rules(names: KeyNames, *, cluster: bool) -> list[str]:
    """Arguments of `ACL SETUSER` after the name and the password."""
    allowed = [f"+{name.lower()}" for name in commands(cluster=cluster)]
    keys = [f"~{pattern}" for pattern in names.patterns]
    return ["resetkeys", *keys, "resetchannels", f"&{names.arrivals}", "-@all", *allowed]
