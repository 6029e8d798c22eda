"""Work spreads over the members of a group as docs/scaling.md says: keys over partitions, partitions over members."""

import re
from pathlib import Path

import pytest

from airy import topics
from airy.model import ids
from tests.kit.event_loops import run_seeded
from tests.kit.spread import HOT, KEYS, Spread, spread

RECORDS = 40_000
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
TOLD_RECORDS, TOLD_MEMBERS = 20_000, 8  # those of the page's table
TOLD_PARTITIONS = 1, 4, 16, 64


def measured(keys: str, partitions: int, members: int, records: int = RECORDS) -> Spread:
    async def measure() -> Spread:
        return await spread(keys, partitions=partitions, members=members, records=records)  # type: ignore[arg-type]

    return run_seeded(0, measure)


@pytest.mark.parametrize("keys", KEYS)
def test_the_documentation_states_the_measured_values(keys: str) -> None:
    response = re.search(rf"^\| {keys} \|(.+)\|$", PAGE.read_text(), re.MULTILINE)
    assert response is not None
    found = [measured(keys, partitions, TOLD_MEMBERS, TOLD_RECORDS) for partitions in TOLD_PARTITIONS]
    forced = max(1.0, found[-1].hottest * TOLD_MEMBERS / TOLD_RECORDS)

    assert [float(cell) for cell in response[1].split("|")] == pytest.approx(
        [*(one.skew for one in found), forced], abs=0.006
    )


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


def test_a_hot_conversation_loads_only_its_partition() -> None:
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


def test_every_record_goes_to_exactly_one_member() -> None:
    one = measured("zipf", 16, 8)

    assert sum(one.by_member) == sum(one.by_partition) == RECORDS


@pytest.mark.parametrize("members", [2, 4, 8, 16])
@pytest.mark.parametrize("keys", KEYS)
def test_members_that_divide_both_counts_get_the_same_from_64_partitions_as_from_16(keys: str, members: int) -> None:
    coarse, fine = (measured(keys, partitions, members, 5_000) for partitions in (16, 64))

    assert sorted(fine.by_member) == sorted(coarse.by_member)


def test_more_partitions_spread_more_evenly_over_members_that_do_not_divide_them() -> None:
    """Five members of 16 have 4, 3, 3, 3 and 3."""
    coarse, fine = measured("uniform", 16, 5), measured("uniform", 64, 5)

    assert coarse.skew == pytest.approx(4 * 5 / 16, abs=0.05)
    assert fine.skew == pytest.approx(13 * 5 / 64, abs=0.05)


def test_assignment_by_load_would_make_uneven_keys_even() -> None:
    """The heaviest partition first, always to the member with the least load."""
    by_member = [0] * 8
    for records in sorted(measured("zipf", 64, 8).by_partition, reverse=True):
        by_member[by_member.index(min(by_member))] += records

    assert max(by_member) * 8 / RECORDS <= 1.1
    assert measured("zipf", 64, 8).skew >= 1.4


def test_raw_webhooks_of_one_page_are_in_one_partition_and_its_facts_in_all() -> None:
    raw = topics.source_events("facebook")
    channel = ids.channel_id("facebook", "204918377001")
    of_facts = {topics.EVENTS.partition(ids.conversation_id(channel, f"contact-{number}")) for number in range(1_000)}

    assert (raw.key, topics.EVENTS.key) == ("provider account", "conversation id")
    assert of_facts == set(range(topics.EVENT_PARTITIONS))
