"""Positions in all partitions, and their tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.actors.feed_position import (
    INDEX,
    PARTITIONS,
    Epoch,
    FeedPosition,
    LastChange,
    ResumeToken,
    decode,
    encode,
    position_at,
    read_token,
)
from airy.bus.record import Position
from airy.errors import Refused
from airy.model.change import Change, ChangeKind
from airy.store.api import StoredChange

indexes = st.integers(0, len(PARTITIONS) - 1)
offsets = st.integers(0, 2**62)
checksums = st.integers(0, 2**32 - 1)
lasts = st.none() | st.builds(LastChange, indexes, offsets, st.integers(0, 2**20), checksums)
positions = st.builds(FeedPosition, st.tuples(*[offsets] * len(PARTITIONS)), lasts)
epochs = st.none() | st.builds(Epoch, indexes, checksums)


def stored(index: int, offset: int, nth: int) -> StoredChange:
    tp = PARTITIONS[index]
    change = Change(
        id=f"{index}-{offset}-{nth}", kind=ChangeKind.TAG_UPDATED, lane="l", sequence=1, at_ms=1, body=b"{}"
    )
    return StoredChange(Position(tp.topic, tp.partition, offset), nth, change)


@given(positions, epochs)
def test_a_token_decodes_to_what_it_was_made_of(position: FeedPosition, epoch: Epoch | None) -> None:
    assert decode(encode(position, epoch)) == ResumeToken(position, epoch)


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda data: data.hex()))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        decode(text)
    except Refused as error:
        assert error.field == "resume"


def test_a_token_of_another_version_is_none() -> None:
    token = encode(position_at({}), None)
    assert decode("Ah" + token[2:]) is None


def test_a_token_of_a_busy_log_is_short() -> None:
    assert len(encode(position_at(dict.fromkeys(PARTITIONS, 2_000_000)), Epoch(0, 2**31))) < 120


def test_a_position_inside_the_changes_of_a_record_continues_with_the_next_one() -> None:
    position = position_at({PARTITIONS[3]: 7}).with_change(3, stored(3, 7, 0), complete=False)

    assert position.after(3) == (7, 0)
    assert position.partial == 3
    assert position.reading_order[0] == 3
    assert position.needs_folded[3] == 8


def test_a_position_behind_the_last_change_of_a_record_is_behind_the_record() -> None:
    position = position_at({PARTITIONS[3]: 7}).with_change(3, stored(3, 7, 1), complete=True)

    assert position.after(3) == (8, -1)
    assert position.partial is None
    assert position.after(INDEX[PARTITIONS[0]]) == (0, -1)


def test_a_read_waits_for_the_last_record_before_the_position() -> None:
    assert read_token(position_at({PARTITIONS[0]: 1, PARTITIONS[2]: 9})) == "0.0.0,0.2.8"


@pytest.mark.parametrize("token", ["", "!", "AQ", "Ag", "ARgA", "ä", "A" * 2_000])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(Refused, match="resume"):
        decode(token)
