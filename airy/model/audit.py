"""Entries of the audit trail: which caller did what, to which entity, with which outcome. No bodies and no secrets."""

from typing import Literal

from msgspec import Struct

AuditStage = Literal["requested", "finished"]


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An administrative write has two: before anything is written, and with the status of the answer."""

    at_ms: int
    stage: AuditStage
    caller: str  # id of the caller
    caller_kind: str
    action: str  # `/webhooks.subscribe`, `/login`
    request_id: str
    entity_id: str = ""  # as far as it is known at this stage
    status: int = 0  # HTTP status of the answer; 0: not known yet
