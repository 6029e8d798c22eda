"""The archive of a log: what goes in comes out, the same bytes every time, and nothing that was altered."""

from io import BytesIO
from random import Random

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from airy.bus.archive import (
    BLOCK_RECORDS_MAX,
    ArchiveWriter,
    Block,
    Damaged,
    End,
    Entry,
    Head,
    Part,
    Place,
    read_archive,
)
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic

FIRST: Topic[bytes] = Topic("first", bytes, partitions=2, retention="kept")
LAST: Topic[bytes] = Topic("last", bytes, partitions=1, retention="kept")
TOPICS = (FIRST, LAST)
WHERES = (*FIRST.where, *LAST.where)

texts = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))
entries = st.builds(
    Entry,
    texts,
    st.none() | texts,
    st.lists(st.tuples(st.text(max_size=8), texts), max_size=3).map(tuple),
    st.integers(-1, 2**48),
)
logs = st.lists(st.lists(entries, max_size=8), min_size=len(WHERES), max_size=len(WHERES))


def archive(log: list[list[Entry]], places: tuple[Place, ...] = ()) -> bytes:
    writer = ArchiveWriter(TOPICS)
    written = [writer.head()]
    for where, some in zip(WHERES, log, strict=True):
        written += [writer.add(where, entry) for entry in some]
    return b"".join([*written, *(writer.place(place) for place in places), writer.end()])


def parts(data: bytes) -> list[Part]:
    return list(read_archive(BytesIO(data)))


def plain(count: int, size: int = 3) -> list[Entry]:
    return [Entry(b"key", b"%d" % number * size, (), number) for number in range(count)]


@given(logs)
def test_what_goes_in_comes_out(log: list[list[Entry]]) -> None:
    head, *blocks, end = parts(archive(log))
    assert isinstance(head, Head)
    found: dict[TopicPartition, list[Entry]] = {where: [] for where in WHERES}
    for block in blocks:
        assert isinstance(block, Block)
        assert block.first == len(found[block.where])
        found[block.where] += block.entries
    assert list(found.values()) == log
    assert end == End(sum(map(len, log)), 0, end.sha256 if isinstance(end, End) else "")


@given(logs)
def test_the_same_log_makes_the_same_bytes(log: list[list[Entry]]) -> None:
    assert archive(log) == archive(log)


def test_people_can_read_it() -> None:
    entry = Entry(b"key", b'{"text":"hi"}', (("id", b"1"),), 7)
    lines = archive([[entry], [Entry(b"\xff", None, (), 8)], []]).splitlines()
    assert msgspec.json.decode(lines[0])["airy-log"] == 1
    assert msgspec.json.decode(lines[2]) == {"at": 7, "key": "key", "value": '{"text":"hi"}', "headers": [["id", "1"]]}
    assert msgspec.json.decode(lines[4]) == {"at": 8, "key": {"base64": "/w=="}, "value": None}


def test_blocks_are_bounded_in_records_and_bytes() -> None:
    small = parts(archive([plain(2 * BLOCK_RECORDS_MAX + 1), [], []]))
    assert [len(part.entries) for part in small if isinstance(part, Block)] == [BLOCK_RECORDS_MAX, BLOCK_RECORDS_MAX, 1]
    large = parts(archive([plain(4, size=700_000), [], []]))
    assert [len(part.entries) for part in large if isinstance(part, Block)] == [2, 2]


def test_places_come_after_records() -> None:
    places = (Place("group", "first", 0, 2), Place("group", "last", 0, 0))
    assert [part for part in parts(archive([plain(2), [], []], places)) if isinstance(part, Place)] == list(places)


@pytest.mark.parametrize("place", [Place("g", "first", 0, 3), Place("g", "first", 0, -1), Place("g", "other", 0, 0)])
def test_a_place_that_cannot_be_is_refused(place: Place) -> None:
    with pytest.raises(Damaged, match="g cannot be at record"):
        parts(archive([plain(2), [], []], (place,)))


def test_a_cut_archive_is_refused_wherever_it_was_cut() -> None:
    whole = archive([plain(3), plain(2), plain(1)], (Place("group", "first", 0, 2),))
    for length in range(len(whole)):
        with pytest.raises(Damaged, match=r"cut|no archive"):
            parts(whole[:length])


def test_an_altered_archive_is_refused_wherever_it_was_altered(seed: int) -> None:
    random = Random(seed)
    whole = archive([plain(3), plain(2), plain(1)], (Place("group", "first", 0, 2),))
    for index in range(len(whole)):
        altered = bytearray(whole)
        altered[index] ^= random.randrange(1, 256)
        with pytest.raises(Damaged):
            parts(bytes(altered))


def test_nothing_of_an_altered_block_is_given_out() -> None:
    whole = archive([plain(3), [], []])
    seen = []
    with pytest.raises(Damaged, match=r"first\[0\] was altered from record 0 on"):
        for part in read_archive(BytesIO(whole.replace(b'"111"', b'"112"'))):
            seen.append(part)  # noqa: PERF402 - what was given out before it failed
    assert [type(part) for part in seen] == [Head]


def test_a_missing_block_is_noticed() -> None:
    whole = archive([plain(2), plain(2), plain(2)]).splitlines(keepends=True)
    with pytest.raises(Damaged, match=r"altered|missing"):
        parts(b"".join(whole[:4] + whole[7:]))


def test_two_archives_in_one_file_are_refused() -> None:
    whole = archive([plain(1), [], []])
    with pytest.raises(Damaged, match="behind its end"):
        parts(whole + whole)


def test_another_version_is_told_from_no_archive() -> None:
    whole = archive([[], [], []])
    with pytest.raises(Damaged, match="version 2, this Airy reads 1: use the Airy that wrote it"):
        parts(whole.replace(b'"airy-log":1', b'"airy-log":2'))
    for other in (b"", b"\n", b"{}\n", b"[1]\n", b"SQLite format 3\x00\n"):
        with pytest.raises(Damaged, match=r"no archive|cut"):
            parts(other)


def test_a_claim_of_gigabytes_is_refused_before_anything_is_read() -> None:
    whole = archive([plain(2), [], []])
    with pytest.raises(Damaged, match="claims 99999999999 bytes"):
        parts(whole.replace(b'"bytes":70', b'"bytes":99999999999'))
