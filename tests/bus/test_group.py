"""A group decides who owns what: a state machine without waiting, given the time."""

from typing import Any

import pytest

from airy.bus import Fenced, Topic
from airy.bus.group import Group, Member, deal_out

ONE: Topic[Any] = Topic("one", bytes, partitions=5, retention="kept")
TWO: Topic[Any] = Topic("two", bytes, partitions=3, retention="kept")


def member(*topics: Topic[Any]) -> Member:
    return Member(topics or (ONE,), lambda: None)


def take(group: Group, *members: Member, now: float) -> None:
    """Each gives up what it has, and takes what it is dealt."""
    for one in members:
        if not one.gave_up:
            group.give_up(one, now)
    for one in members:
        if one.dealt is not None:
            one.owned, one.dealt, one.seen_at = one.dealt, None, now


def grown(*members: Member, now: float = 0.0) -> Group:
    group = Group("group", session_s=10, rebalance_s=5)
    for one in members:
        one.seen_at = now
        group.join(one, now)
    take(group, *members, now=now)
    return group


def test_partitions_go_round_in_the_order_of_joining() -> None:
    a, b = member(ONE, TWO), member(ONE)
    dealt = deal_out([a, b])
    assert [where.partition for where in sorted(dealt[a]) if where.topic == "one"] == [0, 2, 4]
    assert [where.partition for where in sorted(dealt[b])] == [1, 3]
    assert {where for where in dealt[a] if where.topic == "two"} == set(TWO.where)


def test_more_members_than_partitions_leaves_some_with_nothing() -> None:
    members = [member(TWO) for _ in range(5)]
    assert sorted(len(some) for some in deal_out(members).values()) == [0, 0, 1, 1, 1]


def test_nothing_is_dealt_before_everybody_has_given_up() -> None:
    a, b, c = member(), member(), member()
    group = grown(a, b)
    c.seen_at = 1
    group.join(c, 1)
    group.give_up(c, 1)
    group.give_up(a, 2)
    assert group.settling
    assert not any(one.dealt for one in (a, b, c))
    group.give_up(b, 3)
    assert not group.settling
    assert all(one.dealt for one in (a, b, c))


def test_who_is_late_is_out_and_the_others_go_on() -> None:
    a, b = member(), member()
    group = grown(a, b)
    a.fetching = b.fetching = True  # nobody is silent
    group.rebalance(1)
    group.give_up(a, 2)
    group.tick(5.9)
    assert group.settling
    assert group.next_deadline() == 6
    group.tick(6)
    assert b.expelled
    assert a.dealt == frozenset(ONE.where)
    with pytest.raises(Fenced, match=r"one\[0\]"):
        group.check(b, {ONE.where[0]: 1}, 6)


def test_silence_is_counted_from_the_end_of_the_last_fetch() -> None:
    a, b = member(), member()
    group = grown(a, b)
    b.seen_at = 4
    assert group.next_deadline() == 10
    group.tick(9.9)
    assert not a.expelled
    group.tick(10)
    assert a.expelled
    assert not b.expelled
    assert group.settling


def test_joining_late_in_the_day_is_a_sign_of_life() -> None:
    one = member()
    group = Group("group", session_s=10, rebalance_s=5)
    group.join(one, 1_000)
    assert not one.expelled
    assert group.generation == 1


def test_a_rebalance_in_a_rebalance_does_not_extend_its_budget() -> None:
    a, b = member(), member()
    group = grown(a)
    a.fetching = b.fetching = True
    group.rebalance(1)
    group.join(b, 3)
    assert group.next_deadline() == 6


def test_who_leaves_holds_nobody_up() -> None:
    a, b = member(), member()
    group = grown(a, b)
    group.rebalance(1)
    group.give_up(a, 1)
    group.leave(b, 2)
    assert a.dealt == frozenset(ONE.where)


def test_a_commit_is_accepted_until_the_partition_is_given_up() -> None:
    a = member()
    group = grown(a)
    (where, *_) = ONE.where
    group.check(a, {where: 1}, 1)
    group.rebalance(2)
    group.check(a, {where: 1}, 3)
    group.give_up(a, 3)
    with pytest.raises(Fenced, match="stop acting on it"):
        group.check(a, {where: 1}, 3)
    with pytest.raises(Fenced):
        group.check(a, {TWO.where[0]: 1}, 3)
