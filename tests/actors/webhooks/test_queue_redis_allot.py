"""What is taken from which shard: limits hold over all of them, and nothing that may be handed out is left."""

import pytest

from airy.actors.webhooks.queue_redis.allot import Waiting, allot, shares
from tests.kit.contracts.queue import HERE, THERE


@pytest.mark.parametrize(
    ("total", "wanted", "given"),
    [(10, [3, 0, 20], [3, 0, 7]), (2, [5, 5, 5], [1, 1, 0]), (0, [5], [0]), (5, [], []), (9, [1, 1], [1, 1])],
)
def test_shares_are_even_and_nothing_is_left_over(total: int, wanted: list[int], given: list[int]) -> None:
    assert shares(total, wanted) == given


def test_the_odd_one_goes_to_another_each_time() -> None:
    assert [shares(1, [5, 5], first) for first in (0, 1)] == [[1, 0], [0, 1]]


def test_a_webhook_that_is_left_out_or_full_is_not_taken() -> None:
    found = {HERE: {"a": Waiting(2, 5), "b": Waiting(0, 5)}, THERE: {"a": Waiting(1, 5), "c": Waiting(0, 1)}}
    takes = allot(found, jobs_max=100, per_webhook_max=3, not_webhooks=frozenset({"b"}))
    assert {shard: take.of for shard, take in takes.items()} == {THERE: {"c": 1}}


def test_jobs_of_many_shards_are_divided_and_exactly_as_many_as_possible() -> None:
    found = {HERE: {"a": Waiting(0, 9)}, THERE: {"a": Waiting(0, 2), "b": Waiting(0, 2)}}
    takes = allot(found, jobs_max=6, per_webhook_max=5, not_webhooks=frozenset())
    assert takes[HERE].of == {"a": 3}
    assert takes[THERE].of == {"a": 2, "b": 2}
    assert takes[HERE].jobs + takes[THERE].jobs == 6
