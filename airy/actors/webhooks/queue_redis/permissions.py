"""The least a user of Redis needs for the queue: which commands, on which keys, on which channel.

Commands of the scripts are read from the scripts, so they cannot be forgotten here; those of the client are listed.
`tests/actors/webhooks/test_queue_redis_guarded.py` keeps the queue's whole contract as a user with exactly these, and
takes away one at a time.
"""

import re
from collections.abc import Iterable

from airy.actors.webhooks.queue_redis import scripts
from airy.actors.webhooks.queue_redis.keys import Names

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
)
CLUSTER = ("CLUSTER|SLOTS", "COMMAND")
"""What a cluster's client asks besides: who has which slot, and where in a command the keys are."""

_ON_CHANNELS = {"PUBLISH", "SUBSCRIBE"}
_ON_NOTHING = {*CLUSTER, "EVALSHA", "INFO", "SCRIPT|LOAD", "TIME"}
_SUBCOMMANDS = {"XINFO": "XINFO|STREAM"}
_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'")


def commands(*, cluster: bool) -> list[str]:
    called = {name for script in scripts.ALL for name in _CALLED.findall(script.text)}
    return sorted({*CLIENT, *(CLUSTER if cluster else ()), *(_SUBCOMMANDS.get(name, name) for name in called)})


def trials(names: Names, *, cluster: bool) -> Iterable[str]:
    """What `allowed.lua` is asked: each command, and what it would be run on, if anything."""
    for name in commands(cluster=cluster):
        if name in _ON_NOTHING:
            yield from (name, "")
        else:
            yield from (name, names.arrivals if name in _ON_CHANNELS else names.shards)


def rules(names: Names, *, cluster: bool) -> list[str]:
    """Of `ACL SETUSER`, after the name and the password."""
    allowed = [f"+{name.lower()}" for name in commands(cluster=cluster)]
    keys = [f"~{pattern}" for pattern in names.patterns]
    return ["resetkeys", *keys, "resetchannels", f"&{names.arrivals}", "-@all", *allowed]
