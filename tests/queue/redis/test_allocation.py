"""How many jobs are leased from which shard: limits hold over all shards, and no job that may be leased is left."""

import pytest

from airy.queue.fair_shares import evenly, fair_shares
from airy.queue.redis.allocation import WebhookLoad, allocate
from tests.kit.contracts.queue import HERE, THERE


@pytest.mark.parametrize(
    ("total", "wanted", "given"),
    [(10, [3, 0, 20], [3, 0, 7]), (2, [5, 5, 5], [1, 1, 0]), (0, [5], [0]), (5, [], []), (9, [1, 1], [1, 1])],
)
def test_shares_are_even_and_nothing_is_left_over(total: int, wanted: list[int], given: list[int]) -> None:
    assert fair_shares(total, wanted) == given


def test_the_remainder_goes_to_another_shard_each_turn() -> None:
    assert [fair_shares(1, [5, 5], first) for first in (0, 1)] == [[1, 0], [0, 1]]


def test_an_excluded_or_full_webhook_gets_no_jobs() -> None:
    found = {
        HERE: {"a": WebhookLoad(2, 5), "b": WebhookLoad(0, 5)},
        THERE: {"a": WebhookLoad(1, 5), "c": WebhookLoad(0, 1)},
    }
    takes = allocate(found, per_webhook_max=3, webhook_limits={"b": 0}, divide=evenly(100))
    assert {shard: take.per_webhook for shard, take in takes.items()} == {THERE: {"c": 1}}


def test_jobs_are_divided_over_shards_up_to_every_limit() -> None:
    found = {HERE: {"a": WebhookLoad(0, 9)}, THERE: {"a": WebhookLoad(0, 2), "b": WebhookLoad(0, 2)}}
    takes = allocate(found, per_webhook_max=5, webhook_limits={}, divide=evenly(6))
    assert takes[HERE].per_webhook == {"a": 2}
    assert takes[THERE].per_webhook == {"a": 2, "b": 2}
    assert takes[HERE].jobs + takes[THERE].jobs == 6
