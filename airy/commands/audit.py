"""Appends to the audit trail."""

import structlog

from airy import topics
from airy.commands.writer import Writer
from airy.errors import Unavailable
from airy.model.audit import AuditEntry, AuditStage

log = structlog.get_logger("airy.audit")


class AuditTrail:
    """The request is appended before the write, so that no write is without a trace; `Unavailable` prevents the write.

    The outcome is appended after it. If that fails the write stands, so the outcome goes to the log of the process.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def requested(self, action: str, caller: str, kind: str, request_id: str, entity_id: str = "") -> None:
        entry = self._entry("requested", action, caller, kind, request_id, entity_id)
        await self._writer.publish([topics.AUDIT.record(caller, entry)])

    async def finished(self, action: str, caller: str, kind: str, request_id: str, entity_id: str, status: int) -> None:
        entry = self._entry("finished", action, caller, kind, request_id, entity_id, status)
        try:
            await self._writer.publish([topics.AUDIT.record(caller, entry)])
        except Unavailable as error:
            line = {"action": action, "caller": caller, "request_id": request_id, "status": status}
            log.warning("audit.outcome_not_recorded", **line, error=str(error))

    def _entry(
        self, stage: AuditStage, action: str, caller: str, kind: str, request_id: str, entity_id: str, status: int = 0
    ) -> AuditEntry:
        return AuditEntry(
            at_ms=self._writer.now_ms(),
            stage=stage,
            caller=caller,
            caller_kind=kind,
            action=action,
            request_id=request_id,
            entity_id=entity_id,
            status=status,
        )
