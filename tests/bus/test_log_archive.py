"""The archive format: it round-trips, equal logs give equal bytes, and altered files are refused."""

from io import BytesIO
from random import Random

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from airy.bus.log_archive import (
    BLOCK_RECORDS_MAX,
    ArchiveDamaged,
    ArchivedRecord,
    ArchiveEnd,
    ArchiveHeader,
    ArchivePart,
    ArchiveWriter,
    GroupOrdinal,
    RecordBlock,
    read_archive,
)
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic

FIRST: Topic[bytes] = Topic("first", bytes, partitions=2, retention="kept")
LAST: Topic[bytes] = Topic("last", bytes, partitions=1, retention="kept")
TOPICS = (FIRST, LAST)
WHERES = (*FIRST.topic_partitions, *LAST.topic_partitions)

texts = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))
entries = st.builds(
    ArchivedRecord,
    texts,
    st.none() | texts,
    st.lists(st.tuples(st.text(max_size=8), texts), max_size=3).map(tuple),
    st.integers(-1, 2**48),
)
logs = st.lists(st.lists(entries, max_size=8), min_size=len(WHERES), max_size=len(WHERES))


def archive(log: list[list[ArchivedRecord]], places: tuple[GroupOrdinal, ...] = ()) -> bytes:
    writer = ArchiveWriter(TOPICS)
    written = [writer.header()]
    for tp, some in zip(WHERES, log, strict=True):
        written += [writer.add(tp, entry) for entry in some]
    return b"".join([*written, *(writer.add_group_ordinal(place) for place in places), writer.end()])


def parts(data: bytes) -> list[ArchivePart]:
    return list(read_archive(BytesIO(data)))


def plain(count: int, size: int = 3) -> list[ArchivedRecord]:
    return [ArchivedRecord(b"key", b"%d" % number * size, (), number) for number in range(count)]


@given(logs)
def test_an_archive_is_read_back_as_written(log: list[list[ArchivedRecord]]) -> None:
    head, *blocks, end = parts(archive(log))
    assert isinstance(head, ArchiveHeader)
    found: dict[TopicPartition, list[ArchivedRecord]] = {tp: [] for tp in WHERES}
    for block in blocks:
        assert isinstance(block, RecordBlock)
        assert block.first == len(found[block.topic_partition])
        found[block.topic_partition] += block.entries
    assert list(found.values()) == log
    assert end == ArchiveEnd(sum(map(len, log)), 0, end.sha256 if isinstance(end, ArchiveEnd) else "")


@given(logs)
def test_the_same_log_writes_the_same_bytes(log: list[list[ArchivedRecord]]) -> None:
    assert archive(log) == archive(log)


def test_an_archive_is_readable_json() -> None:
    entry = ArchivedRecord(b"key", b'{"text":"hi"}', (("id", b"1"),), 7)
    lines = archive([[entry], [ArchivedRecord(b"\xff", None, (), 8)], []]).splitlines()
    assert msgspec.json.decode(lines[0])["airy-log"] == 1
    assert msgspec.json.decode(lines[2]) == {"at": 7, "key": "key", "value": '{"text":"hi"}', "headers": [["id", "1"]]}
    assert msgspec.json.decode(lines[4]) == {"at": 8, "key": {"base64": "/w=="}, "value": None}


def test_blocks_are_bounded_in_records_and_bytes() -> None:
    small = parts(archive([plain(2 * BLOCK_RECORDS_MAX + 1), [], []]))
    assert [len(part.entries) for part in small if isinstance(part, RecordBlock)] == [
        BLOCK_RECORDS_MAX,
        BLOCK_RECORDS_MAX,
        1,
    ]
    large = parts(archive([plain(4, size=700_000), [], []]))
    assert [len(part.entries) for part in large if isinstance(part, RecordBlock)] == [2, 2]


def test_group_ordinals_come_after_records() -> None:
    places = (GroupOrdinal("group", "first", 0, 2), GroupOrdinal("group", "last", 0, 0))
    assert [part for part in parts(archive([plain(2), [], []], places)) if isinstance(part, GroupOrdinal)] == list(
        places
    )


@pytest.mark.parametrize(
    "place", [GroupOrdinal("g", "first", 0, 3), GroupOrdinal("g", "first", 0, -1), GroupOrdinal("g", "other", 0, 0)]
)
def test_an_impossible_group_ordinal_is_refused(place: GroupOrdinal) -> None:
    with pytest.raises(ArchiveDamaged, match="g cannot be at record"):
        parts(archive([plain(2), [], []], (place,)))


def test_a_truncated_archive_is_refused() -> None:
    whole = archive([plain(3), plain(2), plain(1)], (GroupOrdinal("group", "first", 0, 2),))
    for length in range(len(whole)):
        with pytest.raises(ArchiveDamaged, match=r"truncated|not an archive"):
            parts(whole[:length])


def test_an_altered_archive_is_refused(seed: int) -> None:
    random = Random(seed)
    whole = archive([plain(3), plain(2), plain(1)], (GroupOrdinal("group", "first", 0, 2),))
    for index in range(len(whole)):
        altered = bytearray(whole)
        altered[index] ^= random.randrange(1, 256)
        with pytest.raises(ArchiveDamaged):
            parts(bytes(altered))


def test_an_altered_block_is_not_yielded() -> None:
    whole = archive([plain(3), [], []])
    seen = []
    with pytest.raises(ArchiveDamaged, match=r"first\[0\] was altered from record 0 on"):
        for part in read_archive(BytesIO(whole.replace(b'"111"', b'"112"'))):
            seen.append(part)  # noqa: PERF402 - the parts before the failure
    assert [type(part) for part in seen] == [ArchiveHeader]


def test_a_missing_block_is_detected() -> None:
    whole = archive([plain(2), plain(2), plain(2)]).splitlines(keepends=True)
    with pytest.raises(ArchiveDamaged, match=r"altered|missing"):
        parts(b"".join(whole[:4] + whole[7:]))


def test_two_archives_in_one_file_are_refused() -> None:
    whole = archive([plain(1), [], []])
    with pytest.raises(ArchiveDamaged, match="after its end"):
        parts(whole + whole)


def test_another_version_is_distinguished_from_no_archive() -> None:
    whole = archive([[], [], []])
    with pytest.raises(ArchiveDamaged, match="version 2, this Airy reads 1: use the Airy that wrote it"):
        parts(whole.replace(b'"airy-log":1', b'"airy-log":2'))
    for other in (b"", b"\n", b"{}\n", b"[1]\n", b"SQLite format 3\x00\n"):
        with pytest.raises(ArchiveDamaged, match=r"not an archive|truncated"):
            parts(other)


def test_a_block_that_claims_gigabytes_is_refused_before_it_is_read() -> None:
    whole = archive([plain(2), [], []])
    with pytest.raises(ArchiveDamaged, match="claims 99999999999 bytes"):
        parts(whole.replace(b'"bytes":70', b'"bytes":99999999999'))
