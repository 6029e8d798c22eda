"""Log lines of a process on their way to the processes that show them."""

from msgspec import Struct


class LogBatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Consecutive lines of one run of a process, as JSON; the key of the record is the process."""

    epoch: str  # of the run: numbers begin anew in each
    first: int  # the number of the first line
    lines: list[str]
