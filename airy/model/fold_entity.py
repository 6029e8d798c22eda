"""The fold of entity records: of concurrent writes of one entity, the log decides which are accepted.

Optimistic concurrency control. The version of an entity is its `updated_at_ms`; it grows with every accepted write. A
write names the version it was made on, its base, in a header of its record. It is accepted if that is the entity's
current version, so a write that was made on an older version changes nothing.
"""

from typing import NamedTuple

from airy.errors import Refused

ABSENT = 0  # the version of an entity that does not exist
BASE_HEADER = "base"


class EntityWrite(NamedTuple):
    """What a record says about its write."""

    base: int | None  # None: written before entities had versions, accepted whatever the current version is
    at_ms: int  # the entity's own time or, where it has none, that of its record


def read_base(text: str | None) -> int | None:
    """The value of the header; None if there is none. Raises `Refused`."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Refused(f"the header {BASE_HEADER} is not a version: {text[:64]!r}")
    return int(text)


def fold_entity(write: EntityWrite, *, current: int, last: int) -> int | None:
    """The version after an accepted write; None if the write is rejected. Deletions are writes too.

    `current`: the version of the entity, `ABSENT` if there is none. `last`: the greatest version it ever had, kept when
    it is deleted, so that a version never comes back.
    """
    if write.base is not None and write.base != current:
        return None
    return max(write.at_ms, last + 1)
