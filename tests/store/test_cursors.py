"""Encoding of cursors and ids, and the digest of rows."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from airy.errors import Refused
from airy.store import cursors
from airy.store.digest import Digest
from airy.store.sqlite.id_encoding import decode_id, encode_client_id, encode_id

TIMES = st.integers(-(1 << 63), (1 << 63) - 1)
IDS = st.one_of(st.uuids().map(str), st.text(max_size=40))


@given(TIMES, IDS)
def test_a_cursor_round_trips(at_ms: int, name: str) -> None:
    cursor = cursors.encode((at_ms, name))
    assert cursors.decode(cursor) == (at_ms, name)
    assert not cursor.isdigit()


@given(st.text(max_size=30))
def test_other_text_is_an_offset_the_first_page_or_refused(text: str) -> None:
    try:
        found = cursors.decode(text)
    except Refused as refused:
        assert refused.field == "cursor"
    else:
        assert found is None or isinstance(found, int | tuple)


@given(st.lists(IDS, unique=True, max_size=5))
def test_the_encoding_of_ids_is_one_to_one(names: list[str]) -> None:
    stored = [encode_id(name) for name in names]
    assert [decode_id(one) for one in stored] == names
    assert len(set(stored)) == len(names)


def test_a_uuid_takes_sixteen_bytes_and_is_found_in_any_case() -> None:
    name = "5C6D0000-aaaa-4bbb-8ccc-0123456789ab"
    assert encode_client_id(name) == encode_id(name.lower()) == bytes.fromhex(name.replace("-", ""))
    assert isinstance(encode_id(name), str)  # in the log, upper case is another id
    assert isinstance(encode_id("5c6d0000aaaa4bbb8ccc0123456789ab"), str)


@given(st.permutations([("a", 1), ("b", 2), ("c", None), ("d", b"x")]))
def test_a_digest_does_not_depend_on_order(rows: list[tuple[str, object]]) -> None:
    digest, other = Digest(), Digest()
    for name, value in rows:
        digest.add("row", name, value)  # type: ignore[arg-type]
    for name, value in sorted(rows):
        other.add("row", name, value)  # type: ignore[arg-type]
    assert digest.text() == other.text()


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "bc"), ("ab", "c")), (("a",), ("a", "")), (("1",), ("2",)), ((None,), ("",)), (("a", "b"), ("b", "a"))],
)
def test_different_rows_have_different_digests(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    first, second, twice = Digest(), Digest(), Digest()
    first.add("row", *one)
    second.add("row", *other)
    twice.add("row", *one)
    twice.add("row", *one)
    assert len({first.text(), second.text(), twice.text(), Digest().text()}) == 4
