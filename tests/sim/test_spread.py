"""Work spreads over the members of a group as docs/scaling.md says: keys over partitions, partitions over members."""

import pytest

from airy import topics
from tests.kit.spread import HOT, Spread, spread
from tests.kit.world import run_seeded

RECORDS = 40_000


def measured(keys: str, partitions: int, members: int) -> Spread:
    async def measure() -> Spread:
        return await spread(keys, partitions=partitions, members=members, records=RECORDS)  # type: ignore[arg-type]

    return run_seeded(0, measure)


@pytest.mark.parametrize("members", [2, 4, 8])
def test_even_keys_spread_evenly_over_64_partitions(members: int) -> None:
    assert measured("uniform", 64, members).skew <= 1.35


@pytest.mark.parametrize("members", [2, 4, 8])
def test_even_keys_spread_evenly_over_the_partitions_we_create(members: int) -> None:
    assert measured("uniform", topics.EVENT_PARTITIONS, members).skew <= 1.35


def test_one_huge_channel_spreads_like_many_small_ones() -> None:
    """The key is the conversation, not the channel: a channel has no partition of its own."""
    assert measured("huge channel", 64, 8).skew <= 1.35


def test_members_beyond_the_partitions_have_nothing_to_do() -> None:
    assert [measured("uniform", 4, members).idle for members in (4, 8)] == [0, 4]
    assert [measured("uniform", 1, members).idle for members in (1, 2, 8)] == [0, 1, 7]


def test_a_hot_conversation_weighs_on_its_partition_and_on_no_other() -> None:
    """One member has it, and at most that much more than its share; the others are as even as without it."""
    hot = measured("hot conversation", 64, 8)
    others = sorted(hot.by_member)[:-1]
    warm = sorted(hot.by_partition)[:-1]

    assert hot.hottest == pytest.approx(HOT * RECORDS, rel=0.05)
    assert max(hot.by_member) <= hot.hottest + 1.35 * (RECORDS - hot.hottest) / 8
    assert max(others) * len(others) / sum(others) <= 1.35
    assert max(warm) * len(warm) / sum(warm) <= 1.5


def test_finer_partitions_do_not_make_uneven_keys_even() -> None:
    """With weights of 1/n the first conversation alone has nearly a tenth of everything, and nothing divides that. Nor
    does it help to cut finer: partitions go round the members, so multiples of them are dealt alike.
    """
    coarse, fine = measured("zipf", 16, 8), measured("zipf", 64, 8)

    assert max(fine.by_member) >= fine.hottest
    assert max(fine.by_member) <= fine.hottest + 1.5 * (RECORDS - fine.hottest) / 8
    assert sorted(fine.by_member) == sorted(coarse.by_member)


def test_every_record_is_somebodys_once() -> None:
    one = measured("zipf", 16, 8)

    assert sum(one.by_member) == sum(one.by_partition) == RECORDS
