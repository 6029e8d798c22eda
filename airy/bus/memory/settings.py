"""The limits and intervals of the in-process bus, as values."""

from typing import Final

from msgspec import Struct

MIB: Final = 1_048_576
DAY_MS: Final = 86_400_000


class MemoryLimits(Struct, frozen=True, kw_only=True):
    record_bytes_max: int = 4 * MIB
    memory_bytes_max: int | None = None  # of records in memory; None: 64 MiB above a journal, 1 GiB without one
    publish_records_max: int = 10_000  # in flight; beyond it `publish` waits. Applies with a journal only
    publish_bytes_max: int = 32 * MIB


class GroupTimeouts(Struct, frozen=True, kw_only=True):
    session_s: float = 45.0  # without a fetch for this long a member is expelled
    rebalance_s: float = 60.0  # how long members may take to give up their partitions


class RetentionSettings(Struct, frozen=True, kw_only=True):
    interval_s: float = 60.0  # between two runs of retention and compaction
    tombstone_ms: int = 30 * DAY_MS  # how long compaction keeps a tombstone
    compact_records_min: int = 1_000  # new records a topic needs before it is compacted again
