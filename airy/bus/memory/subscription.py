"""Membership of a group: a reader whose partitions change. Rebalances happen inside `fetch`, never beside it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio

from airy.bus.api import NoRebalanceListener, RebalanceListener
from airy.bus.memory.group import Group, Member
from airy.bus.memory.log import Log
from airy.bus.memory.reader import JournalRead, LogReader
from airy.bus.record import Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

Commit = Callable[[Group, Mapping[TopicPartition, int]], Awaitable[None]]


class GroupSubscription(LogReader):
    """Joins with its first fetch. Leaves with `leave`, or when it has not fetched for a session."""

    def __init__(
        self,
        logs: Mapping[str, Log],
        read_journal: JournalRead,
        *,
        topics: Sequence[Topic[Any]],
        group: Group,
        listener: RebalanceListener | None,
        commit: Commit,
        before_fetch: Callable[[Group], Awaitable[None]],
    ) -> None:
        super().__init__(logs, read_journal)
        self._commit = commit
        self._before_fetch = before_fetch  # injects faults
        self._group = group
        self._listener: RebalanceListener = listener or NoRebalanceListener()
        self._member = Member(topics, self._wake)
        self._left = False

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._member.owned

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._group.check(self._member, offsets, anyio.current_time())
        for tp, offset in offsets.items():
            if not 0 <= offset <= self._logs[tp.topic].ends[tp.partition]:
                message = f"{tp.topic}[{tp.partition}] has no offset {offset}"
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
        await self._before_fetch(self._group)
        member = self._member
        self._group.tick(anyio.current_time())  # before `fetching` is set: a new fetch does not undo a missed session
        if member not in self._group.members and not member.expelled:
            self._group.join(member, anyio.current_time())
        member.fetching = True
        try:
            while True:
                await self._rebalance()
                records = await self._take(records_max, bytes_max)
                if records:
                    return records
                if self._rebalance_pending():
                    continue
                if not await self._wait(min(until, self._group.next_deadline())) and anyio.current_time() >= until:
                    return []
                self._group.tick(anyio.current_time())
        finally:
            member.fetching = False
            member.seen_at = anyio.current_time()

    def _rebalance_pending(self) -> bool:
        """Whether the group has decided something this member has not acted on."""
        member = self._member
        return member.expelled or member.assigned is not None or (self._group.rebalancing and not member.revoked)

    async def _rebalance(self) -> None:
        """Act on the decisions of the group until none is left. When interrupted, the listener is called again."""
        member = self._member
        while self._rebalance_pending():
            if member.assigned is not None:
                await self._accept(member.assigned)
                continue
            if member.owned:
                await self._listener.on_revoked(sorted(member.owned))
            self.follow({})
            if member.expelled:  # possibly during the call of the listener, because it took too long
                member.owned = frozenset()
                self._group.join(member, anyio.current_time())
            else:
                self._group.revoke(member, anyio.current_time())

    async def _accept(self, assigned: frozenset[TopicPartition]) -> None:
        member = self._member
        member.owned = assigned
        committed = self._group.committed
        positions = {tp: committed.get(tp, self._logs[tp.topic].starts[tp.partition]) for tp in sorted(assigned)}
        self.follow(positions)
        if positions:
            await self._listener.on_assigned(positions)
        if member.assigned is assigned:  # no rebalance began meanwhile
            member.assigned = None
