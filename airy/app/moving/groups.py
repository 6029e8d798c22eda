"""What consumer groups have dealt with: asked for, and set, with nobody else in them."""

from collections.abc import Mapping

import anyio

from airy import access, topics
from airy.bus.api import Bus, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Unavailable

GROUPS = tuple(sorted(set(access.GROUPS.values())))
JOIN_S = 60.0
ASK_S = 30.0
PAUSE_S = 0.5


async def committed(bus: Bus, group: str) -> dict[TopicPartition, int]:
    """A cluster that never had a group makes room for the first one when it is asked, and says so by failing."""
    with anyio.move_on_after(ASK_S):
        while True:
            try:
                return await bus.committed(group, topics.ALL)
            except Unavailable:
                await anyio.sleep(PAUSE_S)
    return await bus.committed(group, topics.ALL)


async def commit(bus: Bus, group: str, offsets: Mapping[TopicPartition, int], *, join_s: float = JOIN_S) -> None:
    """Make a group start there. It must have no members; nothing it committed before is taken back."""
    before = await committed(bus, group)
    ahead = {where: offset for where, offset in offsets.items() if before.get(where, -1) < offset}
    if not ahead:
        return
    read = [topic for topic in topics.ALL if any(where.topic == topic.name for where in ahead)]
    trouble = Unavailable(f"the group {group!r} has other members: stop every process of Airy")
    with anyio.move_on_after(join_s):
        while True:
            async with bus.subscribe(read, group=group) as member:
                try:
                    await _joined(member, ahead)
                except Unavailable as error:  # as a cluster does that lost its way for a moment: joined anew
                    trouble = error
                else:
                    await member.commit(ahead)
                    return
            await anyio.sleep(PAUSE_S)
    raise trouble


async def _joined(member: Subscription, ahead: Mapping[TopicPartition, int]) -> None:
    while not ahead.keys() <= member.assignment:
        await member.fetch(records_max=0, wait_s=0.2)
