"""The status of an installation: its processes as the process registry knows them, and its components summed up."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from airy.model.process_status import ProcessStatus


class ProcessInfo(Struct, frozen=True):
    """The last report of a process and its age. A `stale` one missed so many heartbeats that it counts as down."""

    status: ProcessStatus
    age_s: float
    stale: bool


class ComponentCount(Struct, frozen=True):
    """The number of processes that run a component, and of those known to be ready."""

    processes: int
    ready: int


class FleetStatus(Struct, frozen=True):
    processes: Sequence[ProcessInfo] = ()
    components: Mapping[str, ComponentCount] = {}  # by component name
