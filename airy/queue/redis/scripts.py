"""The Lua scripts of the queue. Each documents why every prefix of its effects is safe.

Scripts that free memory are allowed to run when Redis is out of memory; `put` is not. Read-only scripts are marked.
"""

import hashlib
from importlib.resources import files

from msgspec import Struct


class Script(Struct, frozen=True):
    text: str
    sha: str


def _script(name: str, flags: str, *libraries: str) -> Script:
    """Prepends the libraries, which the server therefore evaluates on every call."""
    parts = (f"#!lua {flags}", *(files(__package__).joinpath(f"{part}.lua").read_text() for part in (*libraries, name)))
    text = "\n".join(parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


PUT = _script("put", "flags=", "last_id")
COUNT_JOBS = _script("count_jobs", "flags=no-writes", "last_id", "shard")
SURVEY = _script("survey", "flags=allow-oom", "last_id", "shard")
LEASE = _script("lease", "flags=allow-oom", "last_id", "shard")
SETTLE = _script("settle", "flags=allow-oom", "last_id", "shard")
CLAMP = _script("clamp", "flags=allow-oom", "last_id", "shard")
COPY = _script("copy", "flags=allow-oom", "last_id", "shard")
REPAIR_HEADS = _script("repair_heads", "flags=allow-oom", "last_id", "shard")
DROP_WEBHOOK = _script("drop_webhook", "flags=allow-oom", "last_id", "shard")
POSITION = _script("position", "flags=allow-oom", "last_id", "shard")
NEXT_DUE = _script("next_due", "flags=allow-oom", "last_id", "shard")
STATS = _script("stats", "flags=allow-oom", "last_id", "shard")
BACKLOG = _script("backlog", "flags=no-writes", "last_id", "shard")
COUNT_FAILURE = _script("count_failure", "flags=allow-oom")
REPLAY = _script("replay", "flags=allow-oom", "last_id", "shard")
DENIED_COMMANDS = _script("denied_commands", "flags=no-writes")

ALL = (
    PUT,
    COUNT_JOBS,
    SURVEY,
    LEASE,
    SETTLE,
    CLAMP,
    COPY,
    REPAIR_HEADS,
    DROP_WEBHOOK,
    POSITION,
    NEXT_DUE,
    STATS,
    BACKLOG,
    COUNT_FAILURE,
    REPLAY,
    DENIED_COMMANDS,
)
