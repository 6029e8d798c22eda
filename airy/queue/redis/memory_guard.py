"""Checks Redis's memory: enough of it is free, and nothing is evicted. Pure decisions over `INFO memory`; the shard
registry queries it once a second.
"""

from collections.abc import Iterable, Mapping

import structlog
from msgspec import Struct

from airy.errors import Refused
from airy.queue.api import QueueFull

WARN_SHARE = 0.6
FULL_SHARE = 0.8

log = structlog.get_logger("airy.queue")


class MemoryUsage(Struct, frozen=True):
    """Of the fullest node."""

    used_bytes: int
    max_bytes: int  # 0: unbounded
    policy: str

    @property
    def share(self) -> float:
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


def fullest(infos: Iterable[Mapping[str, str]]) -> MemoryUsage:
    """From the `INFO memory` of each master; a node whose policy evicts ranks first."""
    nodes = [MemoryUsage(int(info["used_memory"]), int(info["maxmemory"]), info["maxmemory_policy"]) for info in infos]
    return max(nodes, key=lambda node: (evicts(node), node.share))


def evicts(memory: MemoryUsage) -> bool:
    return memory.max_bytes > 0 and memory.policy != "noeviction"


def parse_info(info: bytes | Mapping[str, object]) -> dict[str, str]:
    """A reply of `INFO`, which the client may have parsed already."""
    if isinstance(info, bytes):
        lines = (line.partition(":") for line in info.decode().splitlines())
        return {name: value for name, _, value in lines}
    return {name: str(value) for name, value in info.items()}


class MemoryGuard:
    """Logs a high level once, and again only after it was low in between."""

    def __init__(self) -> None:
        self._warned = False

    def check_policy(self, memory: MemoryUsage) -> None:
        """Raises `Refused` where Redis may evict deliveries."""
        if evicts(memory):
            raise Refused(f"redis may evict deliveries: set its maxmemory-policy to noeviction, not {memory.policy}")
        if not memory.max_bytes:
            log.warning("queue.memory_unbounded", used_bytes=memory.used_bytes, advice="set redis's maxmemory")

    def check_usage(self, memory: MemoryUsage) -> None:
        """Raises `QueueFull` where the publisher has to wait."""
        high = memory.share > WARN_SHARE
        if high and not self._warned:
            log.warning("queue.memory_high", used_bytes=memory.used_bytes, max_bytes=memory.max_bytes)
        self._warned = high
        if memory.share > FULL_SHARE:
            raise QueueFull(f"redis uses {memory.share:.0%} of its maxmemory: deliver some, or raise it")
