"""A dead letter keeps everything of its record, through any number of replays; earlier formats decode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.bus.dead_letter import (
    REASON_BYTES_MAX,
    Resolution,
    StoredDeadLetter,
    decode,
    make_dead_letter,
    replay_record,
    resolution_record,
)
from airy.bus.record import Headers, Position, ProducerRecord, Record
from airy.bus.topic import Topic

RAW: Topic[bytes] = Topic("raw", bytes, partitions=8, retention="time", retention_ms=1_000_000)
KEPT: Topic[bytes] = Topic("raw", bytes, partitions=8, retention="kept")
DEAD: Topic[bytes] = Topic("dlq.raw", bytes, partitions=4, retention="time")

headers = st.lists(
    st.tuples(st.text(max_size=8).filter(lambda name: not name.startswith("dlq-")), st.binary(max_size=8)), max_size=4
).map(tuple)


def stored(record: ProducerRecord, offset: int = 0, at_ms: int = 5_000) -> Record:
    return Record(
        record.topic,
        record.partition,
        offset,
        record.key,
        record.value,
        record.headers,
        at_ms if record.timestamp_ms is None else record.timestamp_ms,
    )


def letter_of(record: Record, *, reason: str = "no", attempts: int = 1, at_ms: int = 5_000) -> StoredDeadLetter:
    found = decode(stored(make_dead_letter(DEAD, record, reason, attempts), 17, at_ms))
    assert isinstance(found, StoredDeadLetter)
    return found


@given(st.binary(max_size=8), st.none() | st.binary(max_size=8), headers, st.text(max_size=8), st.integers(1, 99))
def test_a_dead_letter_keeps_everything_of_its_record(
    key: bytes, value: bytes | None, own: Headers, reason: str, attempts: int
) -> None:
    record = Record("raw", 5, 9, key, value, own, 1_234)
    letter = letter_of(record, reason=reason, attempts=attempts)
    assert (letter.position, letter.key, letter.value, letter.headers) == (record.position, key, value, own)
    assert (letter.timestamp_ms, letter.attempts) == (1_234, attempts)
    assert letter.reason == reason.encode("utf-8", "replace").decode()
    assert (letter.id, letter.first_seen_ms, letter.dead_lettered_at_ms) == ("raw/5/9", 5_000, 5_000)
    assert letter.stored_at == Position("dlq.raw", letter.stored_at.partition, 17)


def test_a_long_reason_is_cut_between_characters() -> None:
    reason = letter_of(Record("raw", 0, 0, b"", b"", (), 0), reason="ü" * 600 + "x").reason
    assert reason == "ü" * (REASON_BYTES_MAX // 2)


def test_a_replay_is_the_original_record_and_a_second_dead_letter_continues_the_count() -> None:
    original = Record("raw", RAW.partition("key"), 9, b"key", b"value", (("id", b"1"), ("traceparent", b"t")), 4_000)
    first = letter_of(original, reason="first", attempts=3, at_ms=5_000)
    replayed = replay_record(first, RAW, now_ms=6_000)
    assert (replayed.topic, replayed.partition) == original.topic_partition
    assert (replayed.key, replayed.value) == (b"key", b"value")
    assert replayed.headers[:2] == original.headers
    assert replayed.timestamp_ms == 4_000

    second = letter_of(stored(replayed, offset=30), reason="second", at_ms=7_000)
    assert (second.id, second.reason, second.attempts) == (f"raw/{replayed.partition}/30", "second", 4)
    assert (second.first_seen_ms, second.dead_lettered_at_ms) == (5_000, 7_000)
    assert second.headers == original.headers


@pytest.mark.parametrize(
    ("topic", "now_ms", "kept"), [(RAW, 400_000, True), (RAW, 600_000, False), (KEPT, 10**9, True)]
)
def test_a_replayed_record_keeps_its_time_unless_retention_could_delete_it(
    topic: Topic[bytes], now_ms: int, kept: bool
) -> None:
    letter = letter_of(Record("raw", 0, 9, b"key", b"value", (), 0))
    assert replay_record(letter, topic, now_ms).timestamp_ms == (0 if kept else None)


@pytest.mark.parametrize("outcome", ["replayed", "discarded"])
def test_a_resolution_names_its_dead_letter_and_lies_behind_it(outcome: str) -> None:
    letter = letter_of(Record("raw", 5, 9, b"key", b"value", (), 0))
    record = resolution_record(letter, outcome)  # type: ignore[arg-type]
    assert (record.topic, record.partition) == letter.stored_at.topic_partition
    assert decode(stored(record, 18)) == Resolution(id="raw/5/9", outcome=outcome, at_ms=5_000)  # type: ignore[arg-type]


def test_a_resolution_has_its_actor_and_a_reason_cut_to_a_header_and_earlier_ones_have_neither() -> None:
    letter = letter_of(Record("raw", 5, 9, b"key", b"value", (), 0))
    found = decode(stored(resolution_record(letter, "discarded", actor="op", reason="ü" * 2_000), 18))
    assert isinstance(found, Resolution)
    assert (found.actor, found.reason) == ("op", "ü" * 512)
    earlier = Record("dlq.raw", 1, 17, b"key", b"", (("dlq-resolves", b"raw/5/9"), ("dlq-outcome", b"discarded")), 5)
    assert decode(earlier) == Resolution(id="raw/5/9", outcome="discarded", at_ms=5)


def test_dead_letters_of_earlier_versions_decode() -> None:
    where: Headers = (("topic", b"raw"), ("partition", b"5"), ("offset", b"9"), ("reason", b"no"), ("attempts", b"3"))
    for own in ((), (("request-id", b"r"), ("traceparent", b"t"))):
        found = decode(Record("dlq.raw", 1, 17, b"key", b"value", (*own, *where), 5_000))
        assert isinstance(found, StoredDeadLetter)
        assert (found.id, found.headers, found.reason, found.attempts) == ("raw/5/9", own, "no", 3)
        assert (found.timestamp_ms, found.first_seen_ms) == (5_000, 5_000)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["dlq-topic", "dlq-offset", "dlq-resolves", "dlq-outcome", "offset", "x"]),
            st.binary(max_size=24),
        )
    ).map(tuple)
)
def test_any_record_decodes(found: Headers) -> None:
    decode(Record("dlq.raw", 1, 17, b"\xff", None, found, 5_000))
