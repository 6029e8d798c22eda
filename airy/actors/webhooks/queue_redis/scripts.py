"""The Lua scripts of the queue, as Redis knows them. Each says in its file why every prefix of its effects is safe.

A script that frees memory must run when there is none left; `put` must not. Scripts that only read say so.
"""

import hashlib
from importlib.resources import files

from msgspec import Struct


class Script(Struct, frozen=True):
    text: str
    sha: str


def _script(name: str, flags: str, *before: str) -> Script:
    """With what it uses before it: a server defines all of that anew for every call."""
    parts = (f"#!lua {flags}", *(files(__package__).joinpath(f"{part}.lua").read_text() for part in (*before, name)))
    text = "\n".join(parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


PUT = _script("put", "flags=", "last")
COUNT = _script("count", "flags=no-writes", "last", "shard")
PEEK = _script("peek", "flags=allow-oom", "last", "shard")
LEASE = _script("lease", "flags=allow-oom", "last", "shard")
SETTLE = _script("settle", "flags=allow-oom", "last", "shard")
COPY = _script("copy", "flags=allow-oom", "last", "shard")
MEND = _script("mend", "flags=allow-oom", "last", "shard")
DROP = _script("drop", "flags=allow-oom", "last", "shard")
LOW = _script("low", "flags=allow-oom", "last", "shard")
DUE = _script("due", "flags=allow-oom", "last", "shard")
STATS = _script("stats", "flags=allow-oom", "last", "shard")
FAILED = _script("failed", "flags=allow-oom")
REPLAY = _script("replay", "flags=allow-oom", "last", "shard")
ALLOWED = _script("allowed", "flags=no-writes")

ALL = (
    PUT,
    COUNT,
    PEEK,
    LEASE,
    SETTLE,
    COPY,
    MEND,
    DROP,
    LOW,
    DUE,
    STATS,
    FAILED,
    REPLAY,
    ALLOWED,
)
