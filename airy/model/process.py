"""What a process says of itself in the log, for whoever shows the whole installation: numbers and names, no secret.

One record for each process, said again at every beat; who is silent for a few beats is in trouble, and who left in
order left a tombstone. Not here: who says it and who believes it (`airy.app.presence`, `airy.app.roll`).
"""

from msgspec import Struct

SHARED = "airy"
"""What every process has beside its components; while that is unwell, so are they."""


class ComponentStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A component in one process. `lag` and `rebalances` are None where it is in no consumer group."""

    ready: bool
    restarts: int = 0
    lag: int | None = None
    rebalances: int | None = None


class ProcessStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    instance: str  # host name and port: one that is started again takes the place of the one before
    version: str
    started_at_ms: int
    at_ms: int  # by the clock of who says it
    beat_ms: int  # it says something at least this often
    ready: bool
    url: str | None = None
    waiting_for: dict[str, str] = {}
    components: dict[str, ComponentStatus] = {}  # and `SHARED`
    memory_bytes: int = 0
    fold_lag: int = 0
    fold_age_ms: int = 0
    caught_up: bool = False
    loop_delay_ms: int = 0
