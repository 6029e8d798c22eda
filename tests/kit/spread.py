"""Measures load balance: keys of a given distribution over partitions, partitions over the members of a group.

The bus is the memory backend; its partitioner and its group protocol are those of the cluster. Virtual and
real time give the same result. A member's load is the number of records of its partitions.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from random import Random
from typing import Literal

import anyio
from msgspec import Struct

from airy.bus.memory import MemoryBus
from airy.bus.record import ProducerRecord
from airy.bus.topic import Topic
from airy.clock import LoopClock
from airy.model import ids

Keys = Literal["uniform", "zipf", "huge channel", "hot conversation"]
KEYS: tuple[Keys, ...] = ("uniform", "zipf", "huge channel", "hot conversation")

CONVERSATIONS = 20_000
CHANNELS = 50
ZIPF = 1.0  # the n-th conversation has one n-th of the first one's messages
HUGE = 0.6  # of all messages go through one channel
HOT = 0.2  # of all messages are of one conversation
BATCH = 1_000


class Spread(Struct, frozen=True, kw_only=True):
    """Records per member and per partition."""

    keys: str
    partitions: int
    members: int
    by_member: tuple[int, ...]
    by_partition: tuple[int, ...]
    hottest: int  # records of the conversation with the most

    @property
    def skew(self) -> float:
        """Load of the busiest member divided by the mean."""
        return max(self.by_member) * self.members / (sum(self.by_member) or 1)

    @property
    def partition_skew(self) -> float:
        return max(self.by_partition) * self.partitions / (sum(self.by_partition) or 1)

    @property
    def idle(self) -> int:
        """The number of members without records."""
        return self.by_member.count(0)


def conversations(keys: Keys, records: int, seed: int) -> Iterator[str]:
    """The conversation of each message."""
    random = Random(f"{keys} {seed}")
    names = [_name(number) for number in range(CONVERSATIONS)]
    weights = list(accumulate(1 / (rank + 1) ** ZIPF for rank in range(CONVERSATIONS)))
    huge = names[: CONVERSATIONS // 2]  # a huge channel has many conversations
    for _ in range(records):
        if keys == "zipf":
            yield names[bisect(weights, random.random() * weights[-1])]
        elif keys == "huge channel":
            yield random.choice(huge if random.random() < HUGE else names)
        elif keys == "hot conversation" and random.random() < HOT:
            yield names[0]
        else:
            yield random.choice(names)


def _name(number: int) -> str:
    """A real conversation id, derived from a channel and a contact."""
    return ids.conversation_id(ids.channel_id("facebook", f"page-{number % CHANNELS}"), f"contact-{number}")


async def spread(keys: Keys, *, partitions: int, members: int, records: int, seed: int = 0) -> Spread:
    topic: Topic[bytes] = Topic("work", bytes, partitions=partitions, retention="kept")
    bus = MemoryBus([topic], clock=LoopClock())
    hottest: Counter[str] = Counter()
    batch: list[ProducerRecord] = []
    for name in conversations(keys, records, seed):
        hottest[name] += 1
        batch.append(topic.record(name, b""))
        if len(batch) == BATCH:
            await bus.publish(batch)
            batch = []
    await bus.publish(batch)
    work = {member: Counter[int]() for member in range(members)}
    async with anyio.create_task_group() as tasks:
        for member, done in work.items():
            tasks.start_soon(_member, bus, topic, done)
            await anyio.sleep(0.001 * member)
        while sum(done.total() for done in work.values()) < records:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    return _measured(keys, partitions, work, max(hottest.values()))


def _measured(keys: Keys, partitions: int, work: Mapping[int, Counter[int]], hottest: int) -> Spread:
    by_partition = sum(work.values(), Counter[int]())
    return Spread(
        keys=keys,
        partitions=partitions,
        members=len(work),
        by_member=tuple(done.total() for done in work.values()),
        by_partition=tuple(by_partition[number] for number in range(partitions)),
        hottest=hottest,
    )


async def _member(bus: MemoryBus, topic: Topic[bytes], done: Counter[int]) -> None:
    """Fetches no records until all members have joined; the first would otherwise take all partitions."""
    async with bus.subscribe([topic], group="spread") as membership:
        with anyio.move_on_after(1.0):
            while True:
                await membership.fetch(records_max=0, wait_s=0.1)
        while True:
            for record in await membership.fetch(records_max=BATCH, wait_s=1.0):
                done[record.partition] += 1
