"""The one table of roles and their permissions.

Every route declares one permission; a caller has those of its role, or the ones its API token was created with. Deny by
default: a permission that a role does not list is not granted.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

GrantedRole = Literal["admin", "agent", "analyst"]
GrantedPermission = Literal["read", "write", "upload", "manage", "operate", "inspect", "administer"]
"""What operators give to tokens; the other roles and permissions belong to tokens that Airy itself issues."""


class Permission(StrEnum):
    """What a route requires of its caller."""

    OPEN = "open"  # nothing: health probes, and routes that authenticate in another way
    READ = "read"  # read conversations, channels, settings
    WRITE = "write"  # take part in conversations
    UPLOAD = "upload"  # store a file for a message
    MANAGE = "manage"  # connect channels, subscribe webhooks
    OPERATE = "operate"  # metrics, processes, logs, topics and their lag
    INSPECT = "inspect"  # the records of the log, and with them the contents of all messages
    ADMINISTER = "administer"  # API tokens and sessions
    INGEST = "ingest"  # bring in messages of the caller's own source
    VISIT = "visit"  # take part in the caller's own conversation of a chat plugin, or let a visitor in


class Role(StrEnum):
    ADMIN = "admin"
    AGENT = "agent"
    ANALYST = "analyst"
    SOURCE = "source"
    VISITOR = "visitor"


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(
        {
            Permission.READ,
            Permission.WRITE,
            Permission.UPLOAD,
            Permission.MANAGE,
            Permission.OPERATE,
            Permission.INSPECT,
            Permission.ADMINISTER,
            Permission.VISIT,
        }
    ),
    Role.AGENT: frozenset({Permission.READ, Permission.WRITE, Permission.UPLOAD}),
    Role.ANALYST: frozenset({Permission.READ}),
    Role.SOURCE: frozenset({Permission.INGEST}),
    Role.VISITOR: frozenset({Permission.VISIT, Permission.UPLOAD}),
}


def outside_role(role: GrantedRole | None, permissions: Iterable[GrantedPermission]) -> str | None:
    """Why these permissions of a token have no effect beside its role; None if all have."""
    lacking = sorted({*permissions} - PERMISSIONS[Role(role or Role.ADMIN)])
    if not lacking:
        return None
    return f"the role {role} does not have {', '.join(lacking)}; leave one of them out"
