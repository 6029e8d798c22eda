"""Which actions are in the audit trail, and the entity that one of them is about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from airy.commands import AuditTrail
from airy.http.auth import Caller
from airy.http.problems import problem_of
from airy.permissions import Permission

ADMINISTRATIVE = frozenset({Permission.MANAGE, Permission.ADMINISTER})
READING_VERBS = frozenset({"list", "info", "explore", "get", "plan"})
ENTITY_ID_CHARS_MAX = 256


def is_audited(permission: Permission, path: str) -> bool:
    return permission in ADMINISTRATIVE and path.rpartition(".")[2] not in READING_VERBS


class AuditOutcome:
    """What the block of `audited` fills in."""

    def __init__(self) -> None:
        self.answer: object = None
        self.status = 500


@asynccontextmanager
async def audited(
    trail: AuditTrail, action: str, caller: Caller, request_id: str, body: object
) -> AsyncIterator[AuditOutcome]:
    """The block is an administrative write, between its two entries. Raises `Unavailable` before it."""
    outcome, entity = AuditOutcome(), entity_id(body)
    await trail.requested(action, caller.id, caller.kind, request_id, entity)
    try:
        yield outcome
    except Exception as error:
        await trail.finished(action, caller.id, caller.kind, request_id, entity, problem_of(error).status)
        raise
    found = entity or entity_id(outcome.answer)
    await trail.finished(action, caller.id, caller.kind, request_id, found, outcome.status)


def entity_id(document: object) -> str:
    """The first id in a request or in an answer; empty if there is none. Never another field: it could be a secret."""
    fields = msgspec.structs.asdict(document) if isinstance(document, Struct) else document
    if not isinstance(fields, dict):
        return ""
    names = [name for name in fields if name in ("id", "ids") or name.endswith("_id")]
    values = (fields[name] for name in sorted(names, key=lambda name: (name not in ("id", "ids"), name)))
    texts = (",".join(map(str, value)) if isinstance(value, list) else value for value in values)
    return next((text for text in texts if text and isinstance(text, str)), "")[:ENTITY_ID_CHARS_MAX]
