"""What a publisher looks at once a second: is there memory, and is it kept, not evicted.

Pure decisions over what Redis says about itself; the queue asks, and acts.
"""

from collections.abc import Iterable, Mapping

import structlog
from msgspec import Struct

from airy.actors.webhooks.queue import Full
from airy.errors import Refused

WARN_SHARE = 0.6
FULL_SHARE = 0.8

log = structlog.get_logger("airy.queue")


class Memory(Struct, frozen=True):
    """Of the fullest node."""

    used_bytes: int
    max_bytes: int  # 0: no bound
    policy: str

    @property
    def share(self) -> float:
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


def fullest(infos: Iterable[Mapping[str, str]]) -> Memory:
    """Of what `INFO memory` says of each master; one whose policy evicts counts before all others."""
    nodes = [Memory(int(info["used_memory"]), int(info["maxmemory"]), info["maxmemory_policy"]) for info in infos]
    return max(nodes, key=lambda node: (evicts(node), node.share))


def evicts(memory: Memory) -> bool:
    return memory.max_bytes > 0 and memory.policy != "noeviction"


def parsed(info: bytes | Mapping[str, object]) -> dict[str, str]:
    """`INFO`, which the client may have read already."""
    if isinstance(info, bytes):
        lines = (line.partition(":") for line in info.decode().splitlines())
        return {name: value for name, _, value in lines}
    return {name: str(value) for name, value in info.items()}


class Alarm:
    """Says once what is wrong, and again when it was right in between."""

    def __init__(self) -> None:
        self._warned = False

    def opened(self, memory: Memory) -> None:
        if evicts(memory):
            raise Refused(
                f"redis may throw deliveries away: set its maxmemory-policy to noeviction, not {memory.policy}"
            )
        if not memory.max_bytes:
            log.warning("queue.memory_unbounded", used_bytes=memory.used_bytes, advice="set redis's maxmemory")

    def check(self, memory: Memory) -> None:
        """Raises `Full` if the publisher has to wait."""
        high = memory.share > WARN_SHARE
        if high and not self._warned:
            log.warning("queue.memory_high", used_bytes=memory.used_bytes, max_bytes=memory.max_bytes)
        self._warned = high
        if memory.share > FULL_SHARE:
            raise Full(f"redis uses {memory.share:.0%} of its maxmemory: deliver some, or raise it")
