"""Reads and sets the committed offsets of consumer groups that have no other members."""

from collections.abc import Mapping

import anyio

from airy import acls, topics
from airy.bus.api import Bus, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Unavailable

GROUPS = tuple(sorted(set(acls.GROUPS.values())))
JOIN_S = 60.0
QUERY_S = 30.0
PAUSE_S = 0.5


async def committed(bus: Bus, group: str) -> dict[TopicPartition, int]:
    """Retries: a cluster creates its offsets topic at the first query for a group, which fails meanwhile."""
    with anyio.move_on_after(QUERY_S):
        while True:
            try:
                return await bus.committed(group, topics.ALL)
            except Unavailable:
                await anyio.sleep(PAUSE_S)
    return await bus.committed(group, topics.ALL)


async def commit(bus: Bus, group: str, offsets: Mapping[TopicPartition, int], *, join_s: float = JOIN_S) -> None:
    """Commit offsets for a group without members. Never moves a committed offset back."""
    before = await committed(bus, group)
    ahead = {tp: offset for tp, offset in offsets.items() if before.get(tp, -1) < offset}
    if not ahead:
        return
    read = [topic for topic in topics.ALL if any(tp.topic == topic.name for tp in ahead)]
    failure = Unavailable(f"the group {group!r} has other members: stop every process of Airy")
    with anyio.move_on_after(join_s):
        while True:
            async with bus.subscribe(read, group=group) as member:
                try:
                    await _wait_for_assignment(member, ahead)
                except Unavailable as error:  # a transient failure of the cluster: join again
                    failure = error
                else:
                    await member.commit(ahead)
                    return
            await anyio.sleep(PAUSE_S)
    raise failure


async def _wait_for_assignment(member: Subscription, ahead: Mapping[TopicPartition, int]) -> None:
    while not ahead.keys() <= member.assignment:
        await member.fetch(records_max=0, wait_s=0.2)
