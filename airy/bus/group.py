"""Consumer groups: who owns which partition. Decides only: it never waits and calls nobody but `wake`.

Rebalances are eager, as Kafka's classic protocol has them: everybody gives up everything, and when the last has (or
the budget is spent) everything is dealt out again. A member that is silent for a session is expelled. Time comes in
as an argument; whoever waits in `fetch` looks at `next_deadline`, so a group needs no task of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

from airy.bus.api import Fenced
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic

Deal = dict["Member", frozenset[TopicPartition]]


class Member:
    """One subscription, as its group sees it."""

    def __init__(self, topics: Sequence[Topic[Any]], wake: Callable[[], None]) -> None:
        self.topics = topics
        self.wake = wake
        self.owned: frozenset[TopicPartition] = frozenset()
        self.dealt: frozenset[TopicPartition] | None = None  # ours, but we have not been told yet
        self.gave_up = False  # in the rebalance under way: owns nothing any more
        self.expelled = False
        self.fetching = False  # alive however long it takes
        self.seen_at = 0.0


def deal_out(members: Iterable[Member]) -> Deal:
    """Partitions of each topic go round its subscribers in the order they joined."""
    members = tuple(members)
    dealt: dict[Member, list[TopicPartition]] = {member: [] for member in members}
    topics = {topic.name: topic for member in members for topic in member.topics}
    turn = 0
    for name in sorted(topics):
        takers = [member for member in members if any(topic.name == name for topic in member.topics)]
        for where in topics[name].where:
            dealt[takers[turn % len(takers)]].append(where)
            turn += 1
    return {member: frozenset(partitions) for member, partitions in dealt.items()}


class Group:
    def __init__(self, name: str, *, session_s: float, rebalance_s: float) -> None:
        self.name = name
        self.session_s = session_s
        self.rebalance_s = rebalance_s
        self.generation = 0
        self.deals = 0  # since start, for metrics
        self.committed: dict[TopicPartition, int] = {}
        self.members: dict[Member, None] = {}
        self._settle_by: float | None = None  # set while a rebalance is under way

    @property
    def settling(self) -> bool:
        return self._settle_by is not None

    # --- what members do

    def join(self, member: Member, now: float) -> None:
        member.expelled = False
        member.dealt = None
        member.seen_at = now
        self.members[member] = None
        self.rebalance(now)

    def leave(self, member: Member, now: float) -> None:
        if member in self.members:
            self._remove(member)
            self.rebalance(now)

    def give_up(self, member: Member, now: float) -> None:
        """The member owns nothing any more and waits for the new deal."""
        member.owned = frozenset()
        member.gave_up = True
        self.tick(now)

    def check(self, member: Member, offsets: Mapping[TopicPartition, int], now: float) -> None:
        """Raises `Fenced` unless the member owns all of these."""
        self.tick(now)
        lost = offsets.keys() if member.expelled else offsets.keys() - member.owned
        if lost:
            names = ", ".join(f"{where.topic}[{where.partition}]" for where in sorted(lost))
            raise Fenced(f"{names} belongs to another member of {self.name!r} now: stop acting on it")

    # --- what time does

    def rebalance(self, now: float) -> None:
        """Everything is given up and dealt out anew; a rebalance under way starts over, its budget does not."""
        self.generation += 1
        if self._settle_by is None:
            self._settle_by = now + self.rebalance_s
        for member in self.members:
            member.dealt = None
            member.gave_up = member.gave_up and not member.owned
            member.wake()
        self.tick(now)

    def tick(self, now: float) -> None:
        """Expel the silent; deal out once nobody holds anything."""
        silent = [member for member in self.members if not member.fetching and now >= member.seen_at + self.session_s]
        if self._settle_by is not None and now >= self._settle_by:
            silent += [member for member in self.members if not member.gave_up and member not in silent]
        for member in silent:
            self._remove(member)
            member.expelled = True
            member.wake()
        if silent:
            self.rebalance(now)
        elif self._settle_by is not None and all(member.gave_up for member in self.members):
            self._settle_by = None
            self.deals += 1
            for member, partitions in deal_out(self.members).items():
                member.gave_up = False
                member.dealt = partitions
                member.wake()

    def next_deadline(self) -> float:
        """When `tick` may have something to do."""
        sessions = (member.seen_at + self.session_s for member in self.members if not member.fetching)
        return min(sessions, default=inf) if self._settle_by is None else min(self._settle_by, *sessions, inf)

    def _remove(self, member: Member) -> None:
        del self.members[member]
        member.dealt = None
        member.gave_up = False
