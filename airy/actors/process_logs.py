"""The last log lines of every process: of this one from its own ring, of the others as far as they are known here."""

from collections.abc import Callable, Mapping

from airy.log_ring import LogRing

THIS_PROCESS = "this process"  # until its name is known


class ProcessLogs:
    """`own` is the ring of this process. `instance` is set once its name is known."""

    def __init__(self, own: LogRing) -> None:
        self._own = own
        self.instance: Callable[[], str | None] = lambda: None

    def rings(self) -> Mapping[str, LogRing]:
        """By instance."""
        return {self.instance() or THIS_PROCESS: self._own}
