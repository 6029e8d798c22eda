"""What a reader of changes supplies: a sink, and the values that the delivery loop and the sink share."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from airy.actors.runtime import Backoff, Context
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.store.api import StoredChange

ChangeId = tuple[int, int]
"""(offset, nth) of a change. (offset, -1): everything below the offset, and nothing of it."""

Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]
Rebuild = Callable[[str], None]


class ReaderLimits(Struct, frozen=True, kw_only=True):
    changes_max: int = 500  # per batch of a partition
    idle_s: float = 1.0  # between rounds without new changes
    commit_s: float = 2.0  # between commits
    backoff: Backoff = Backoff(initial_s=1.0)  # of a partition whose sink is unavailable


class AssignedPartition(Struct):
    committed: int  # next offset
    position: ChangeId | None = None  # the last change that is finished; None: to be read from the sink
    drained_to: int | None = None  # folded up to here, with no change after `position`
    checked_at: float = 0.0  # when the position was read from the sink
    retry_at: float = 0.0
    failures: int = 0  # in a row
    is_new: bool = True  # whether it has a committed offset is not known yet
    in_flight: int = 0  # changes of the batch in flight
    revoked: bool = False


class ChangeBatch(Struct, frozen=True):
    """The next changes of a partition. `changes` holds those of the reader's kinds, and may be empty."""

    tp: TopicPartition
    assigned: AssignedPartition
    round: int  # batches of one round were read before any of them is delivered
    after: ChangeId
    changes: Sequence[StoredChange]
    last: ChangeId
    drained_to: int | None  # once this batch is finished; None: the store has more


class ChangeSink(Protocol):
    """What is done with changes. All calls may raise `Unavailable`, which delays the partitions concerned."""

    @property
    def position_check_s(self) -> float:
        """How often a known position is read again."""
        ...

    def on_assigned(self, partitions: Iterable[TopicPartition]) -> None: ...

    async def positions(
        self, ctx: Context, assigned: Mapping[TopicPartition, AssignedPartition], commit: Commit
    ) -> Mapping[TopicPartition, ChangeId | Unavailable]:
        """The last finished change of each partition; may raise `Fenced`."""
        ...

    async def deliver(self, ctx: Context, batch: ChangeBatch) -> None:
        """Advances `batch.assigned.position` as far as changes are finished, or sets it to None if that is unknown."""
        ...

    async def finished(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> Mapping[TopicPartition, int]:
        """The offsets that may be committed."""
        ...

    def log_delay(self, ctx: Context, error: Unavailable) -> None: ...
