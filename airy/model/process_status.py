"""The status record of a process in the log, for views of the whole installation: numbers and names, no secrets.

Each process has one record and writes it again at every heartbeat. A process that misses a few heartbeats is treated
as down; one that stopped in order wrote a tombstone. `airy.actors.heartbeat` writes the records,
`airy.actors.process_registry` reads them.
"""

from msgspec import Struct, field

SHARED = "airy"
"""Key of what every process runs beside its components; while it is unwell, so are they."""


class ComponentStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A component in one process. `lag` and `rebalances` are None where it is in no consumer group."""

    ready: bool
    restarts: int = 0
    lag: int | None = None
    rebalances: int | None = None


class ActorStatus(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """A node of a supervision tree. As an array, because every process writes some forty of them at each heartbeat:
    append fields only.
    """

    path: str
    phase: str
    supervises: int = 0  # number of children; 0: an actor
    steps: int = 0  # progress reported since the process started
    progress_age_s: float = 0.0
    restarts: int = 0
    bugs: int = 0
    error: str | None = None  # of the unavailable dependency, or of the latest crash
    mailbox_used: int = 0
    mailbox_capacity: int = 0


class ActorTree(Struct, frozen=True, omit_defaults=True):
    """The supervision tree of a process, parents before their children; `omitted` nodes were one too many."""

    actors: tuple[ActorStatus, ...] = ()
    omitted: int = 0


class ProcessStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    instance: str  # host name and port: a restarted process replaces its former record
    version: str
    started_at_ms: int
    at_ms: int  # by the clock of the process
    heartbeat_interval_ms: int = field(name="beat_ms")  # the longest time between two records
    ready: bool
    url: str | None = None
    waiting_for: dict[str, str] = {}
    components: dict[str, ComponentStatus] = {}  # and `SHARED`
    memory_bytes: int = 0
    fold_lag: int = 0
    fold_age_ms: int = 0
    folded: tuple[int, ...] = ()  # the next offset to fold of each partition of EVENTS
    caught_up: bool = False
    loop_delay_ms: int = 0
    stopping: bool = False  # it was asked to stop
    tree: ActorTree = ActorTree()  # in a fleet
