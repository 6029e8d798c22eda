"""Records carry kind and version; a record that is newer than the reader is told from garbage."""

import pytest
from msgspec import Struct

from airy import topics
from airy.bus.record import Headers, Position, Record
from airy.bus.record_schema import Hold, PartitionHeld, RecordSchema
from airy.bus.topic import Topic
from airy.errors import Undecodable
from airy.model.fact import KINDS
from airy.store.holds import PartitionHolds, check_not_held, hold_of


class Cat(Struct):
    name: str


class Dog(Struct):
    name: str


SCHEMA = RecordSchema({Cat: ("cat", 2), Dog: ("dog", 1)})
PETS: Topic[Cat] = Topic("pets", Cat, partitions=4, retention="kept", schema=SCHEMA)


def record(*headers: tuple[str, bytes], value: bytes | None = b'{"name":"Tom"}') -> Record:
    return Record("pets", 3, 41, b"key", value, headers, 0)


def headers(kind: str, version: str) -> Headers:
    return (("id", b"1"), ("kind", kind.encode()), ("v", version.encode()))


def test_a_record_carries_the_kind_and_version_of_its_value() -> None:
    assert PETS.record("key", Cat("Tom"), headers=(("id", b"1"),)).headers == headers("cat", "2")


def test_a_tombstone_carries_them_where_the_topic_has_one_kind() -> None:
    cats: Topic[Cat] = Topic("cats", Cat, partitions=1, retention="compacted", schema=RecordSchema({Cat: ("cat", 2)}))

    assert cats.record("key", None).headers == (("kind", b"cat"), ("v", b"2"))
    assert PETS.record("key", None).headers == ()


def test_every_folded_topic_has_a_schema() -> None:
    assert topics.SCHEMAS.keys() == {topic.name for topic in topics.FOLDED}
    assert all(topic.schema is None for topic in topics.ALL if topic not in topics.FOLDED)


def test_the_kinds_of_facts_are_their_tags() -> None:
    kinds = [kind for kind, _ in KINDS.values()]
    assert kinds == [str(fact.__struct_config__.tag) for fact in KINDS]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("given", [(), headers("cat", "1"), headers("cat", "2"), headers("dog", "1")])
def test_known_kinds_and_versions_and_records_without_headers_are_read(given: Headers) -> None:
    for _ in range(2):  # the second time from memory
        assert SCHEMA.hold(record(*given)) is None


@pytest.mark.parametrize(("kind", "version"), [("cat", 3), ("dog", 2), ("fish", 1)])
def test_an_unknown_kind_or_a_higher_version_is_newer(kind: str, version: int) -> None:
    newer = record(*headers(kind, str(version)))

    assert SCHEMA.hold(newer) == Hold(Position("pets", 3, 41), kind, version)
    with pytest.raises(PartitionHeld):
        PETS.decode(newer)


def test_the_reason_says_what_to_do() -> None:
    hold = SCHEMA.hold(record(*headers("fish", "2")))

    assert hold is not None
    assert hold.reason == (
        'partition pets/3 is held at offset 41: record kind "fish" version 2 is newer than this process; upgrade it'
    )


def test_bytes_that_do_not_decode_are_garbage_if_their_kind_and_version_are_known() -> None:
    with pytest.raises(Undecodable):
        PETS.decode(record(*headers("cat", "2"), value=b"{"))


def test_a_version_that_is_no_number_is_ignored() -> None:
    assert SCHEMA.hold(record(*headers("cat", "two"))) is None
    assert SCHEMA.hold(record(*headers("fish", "two"))) == Hold(Position("pets", 3, 41), "fish", 1)


def test_a_newer_tombstone_holds_too() -> None:
    with pytest.raises(PartitionHeld):
        PETS.decode(record(*headers("cat", "3"), value=None))


def test_an_older_version_lacks_a_kind() -> None:
    older = SCHEMA.without("dog")
    assert older.hold(record(*headers("dog", "1"))) is not None
    assert older.hold(record(*headers("cat", "2"))) is None


def test_a_hold_stops_its_partition_only_from_its_offset_on() -> None:
    holds = PartitionHolds({"pets": SCHEMA})
    newer = record(*headers("fish", "1"))

    assert not holds.passes(newer)
    assert not holds.passes(Record("pets", 3, 42, b"", b"", headers("cat", "1"), 0))
    assert holds.passes(Record("pets", 3, 40, b"", b"", headers("cat", "1"), 0))
    assert holds.passes(Record("pets", 2, 42, b"", b"", headers("cat", "1"), 0))


def test_holds_are_found_by_topic_and_key() -> None:
    hold = Hold(Position("pets", PETS.partition("a"), 1), "fish", 1)
    held = {hold.position.topic_partition: hold}
    other = next(key for key in "bcdefgh" if PETS.partition(key) != PETS.partition("a"))

    assert hold_of(held, PETS) is hold_of(held, PETS, "a") is hold
    assert hold_of(held, PETS, other) is hold_of(held, topics.TAGS) is None
    with pytest.raises(PartitionHeld, match="upgrade it"):
        check_not_held(held, PETS, "a")
