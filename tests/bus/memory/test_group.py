"""A group assigns partitions: a state machine that gets the time as an argument."""

from typing import Any

import pytest

from airy.bus import Fenced, Topic
from airy.bus.memory.group import Group, Member, assign_partitions

ONE: Topic[Any] = Topic("one", bytes, partitions=5, retention="kept")
TWO: Topic[Any] = Topic("two", bytes, partitions=3, retention="kept")


def member(*topics: Topic[Any]) -> Member:
    return Member(topics or (ONE,), lambda: None)


def take(group: Group, *members: Member, now: float) -> None:
    """Every member revokes its partitions and accepts its assignment."""
    for one in members:
        if not one.revoked:
            group.revoke(one, now)
    for one in members:
        if one.assigned is not None:
            one.owned, one.assigned, one.seen_at = one.assigned, None, now


def grown(*members: Member, now: float = 0.0) -> Group:
    group = Group("group", session_s=10, rebalance_s=5)
    for one in members:
        one.seen_at = now
        group.join(one, now)
    take(group, *members, now=now)
    return group


def test_partitions_are_assigned_round_robin_in_the_order_of_joining() -> None:
    a, b = member(ONE, TWO), member(ONE)
    assigned = assign_partitions([a, b])
    assert [tp.partition for tp in sorted(assigned[a]) if tp.topic == "one"] == [0, 2, 4]
    assert [tp.partition for tp in sorted(assigned[b])] == [1, 3]
    assert {tp for tp in assigned[a] if tp.topic == "two"} == set(TWO.topic_partitions)


def test_members_beyond_the_partition_count_get_none() -> None:
    members = [member(TWO) for _ in range(5)]
    assert sorted(len(some) for some in assign_partitions(members).values()) == [0, 0, 1, 1, 1]


def test_nothing_is_assigned_before_all_members_have_revoked() -> None:
    a, b, c = member(), member(), member()
    group = grown(a, b)
    c.seen_at = 1
    group.join(c, 1)
    group.revoke(c, 1)
    group.revoke(a, 2)
    assert group.rebalancing
    assert not any(one.assigned for one in (a, b, c))
    group.revoke(b, 3)
    assert not group.rebalancing
    assert all(one.assigned for one in (a, b, c))


def test_a_late_member_is_expelled_and_the_others_continue() -> None:
    a, b = member(), member()
    group = grown(a, b)
    a.fetching = b.fetching = True  # no session can expire
    group.rebalance(1)
    group.revoke(a, 2)
    group.tick(5.9)
    assert group.rebalancing
    assert group.next_deadline() == 6
    group.tick(6)
    assert b.expelled
    assert a.assigned == frozenset(ONE.topic_partitions)
    with pytest.raises(Fenced, match=r"one\[0\]"):
        group.check(b, {ONE.topic_partitions[0]: 1}, 6)


def test_a_session_is_measured_from_the_end_of_the_last_fetch() -> None:
    a, b = member(), member()
    group = grown(a, b)
    b.seen_at = 4
    assert group.next_deadline() == 10
    group.tick(9.9)
    assert not a.expelled
    group.tick(10)
    assert a.expelled
    assert not b.expelled
    assert group.rebalancing


def test_joining_starts_a_session() -> None:
    one = member()
    group = Group("group", session_s=10, rebalance_s=5)
    group.join(one, 1_000)
    assert not one.expelled
    assert group.generation == 1


def test_a_nested_rebalance_keeps_the_deadline() -> None:
    a, b = member(), member()
    group = grown(a)
    a.fetching = b.fetching = True
    group.rebalance(1)
    group.join(b, 3)
    assert group.next_deadline() == 6


def test_a_leaving_member_does_not_delay_a_rebalance() -> None:
    a, b = member(), member()
    group = grown(a, b)
    group.rebalance(1)
    group.revoke(a, 1)
    group.leave(b, 2)
    assert a.assigned == frozenset(ONE.topic_partitions)


def test_a_commit_is_accepted_until_the_partition_is_revoked() -> None:
    a = member()
    group = grown(a)
    (tp, *_) = ONE.topic_partitions
    group.check(a, {tp: 1}, 1)
    group.rebalance(2)
    group.check(a, {tp: 1}, 3)
    group.revoke(a, 3)
    with pytest.raises(Fenced, match="stop acting on it"):
        group.check(a, {tp: 1}, 3)
    with pytest.raises(Fenced):
        group.check(a, {TWO.topic_partitions[0]: 1}, 3)
