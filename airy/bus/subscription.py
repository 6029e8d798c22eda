"""Membership of a group: a reader whose partitions come and go. Rebalances happen inside `fetch`, never beside it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio

from airy.bus.api import Ownership
from airy.bus.group import Group, Member
from airy.bus.log import Log
from airy.bus.reader import ColdRead, LogReader
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

Commit = Callable[[Group, Mapping[TopicPartition, int]], Awaitable[None]]


class Nobody:
    """The ownership of those who do not care."""

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None: ...
    async def revoked(self, partitions: Iterable[TopicPartition]) -> None: ...


class GroupSubscription(LogReader):
    """Joins with its first fetch; leaves with `leave`, or when it has not fetched for a session."""

    def __init__(
        self,
        logs: Mapping[str, Log],
        cold: ColdRead,
        *,
        topics: Sequence[Topic[Any]],
        group: Group,
        ownership: Ownership | None,
        commit: Commit,
        before: Callable[[Group], Awaitable[None]],
    ) -> None:
        super().__init__(logs, cold)
        self._commit = commit
        self._before = before  # each fetch: where faults strike
        self._group = group
        self._ownership: Ownership = ownership or Nobody()
        self._member = Member(topics, self._wake)
        self._left = False

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._member.owned

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._group.check(self._member, offsets, anyio.current_time())
        for where, offset in offsets.items():
            if not 0 <= offset <= self._logs[where.topic].ends[where.partition]:
                message = f"{where.topic}[{where.partition}] has no offset {offset}"
                raise Refused(f"{message}: commit the next offset to read", field="offset")
        if offsets:
            await self._commit(self._group, offsets)

    def leave(self) -> None:
        self._left = True
        self.follow({})
        self._group.leave(self._member, anyio.current_time())
        self._member.owned = frozenset()

    async def _fetch(self, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        until = anyio.current_time() + wait_s
        if self._left:
            raise RuntimeError("this subscription has ended: subscribe again")
        await self._before(self._group)
        member = self._member
        self._group.tick(anyio.current_time())  # before we count as fetching: coming back does not undo silence
        if member not in self._group.members and not member.expelled:
            self._group.join(member, anyio.current_time())
        member.fetching = True
        try:
            while True:
                await self._settle()
                records = await self._take(records_max, bytes_max)
                if records:
                    return records
                if self._untold():
                    continue
                if not await self._wait(min(until, self._group.next_deadline())) and anyio.current_time() >= until:
                    return []
                self._group.tick(anyio.current_time())
        finally:
            member.fetching = False
            member.seen_at = anyio.current_time()

    def _untold(self) -> bool:
        """Whether the group decided something this member has not acted on."""
        member = self._member
        return member.expelled or member.dealt is not None or (self._group.settling and not member.gave_up)

    async def _settle(self) -> None:
        """Act on what the group decided, until there is nothing new. Interrupted, it is told again."""
        member = self._member
        while self._untold():
            if member.dealt is not None:
                await self._take_over(member.dealt)
                continue
            if member.owned:
                await self._ownership.revoked(sorted(member.owned))
            self.follow({})
            if member.expelled:  # possibly just now, for taking too long
                member.owned = frozenset()
                self._group.join(member, anyio.current_time())
            else:
                self._group.give_up(member, anyio.current_time())

    async def _take_over(self, dealt: frozenset[TopicPartition]) -> None:
        member = self._member
        member.owned = dealt
        committed = self._group.committed
        positions = {
            where: committed.get(where, self._logs[where.topic].starts[where.partition]) for where in sorted(dealt)
        }
        self.follow(positions)
        if positions:
            await self._ownership.assigned(positions)
        if member.dealt is dealt:  # no rebalance began meanwhile
            member.dealt = None
