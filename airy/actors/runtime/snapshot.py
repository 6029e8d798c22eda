"""Health of one node at one moment, as read by readiness, /health and the console."""

from __future__ import annotations

from msgspec import Struct

from airy.actors.runtime.phase import Phase


class Snapshot(Struct, frozen=True, kw_only=True):
    path: str
    phase: Phase
    restarts: int = 0
    bugs: int = 0
    unavailable: str | None = None  # the error of the dependency that keeps it from being ready
    error: str | None = None  # the latest crash, kept after recovery
    abandoned: int = 0  # runs that ignored their cancellation and still execute
    progress_age_s: float = 0.0
    steps: int = 0  # progress reported since the process started
    mailbox_used: int = 0
    mailbox_capacity: int = 0
    children: tuple[Snapshot, ...] = ()
