"""Metadata: flat keys and nested documents, which convert into each other without loss."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.errors import Refused
from airy.model import metadata
from tests.kit.builders import raw

words = st.sampled_from(("a", "b", "c", "", "ü"))
keys = st.lists(words, min_size=1, max_size=4).map(".".join)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.lists(st.integers() | st.text(max_size=2), max_size=2)
)
documents = st.recursive(leaves, lambda inner: st.dictionaries(words.filter(bool), inner, max_size=3))
writes = st.lists(st.tuples(st.booleans(), keys, st.integers(0, 3)), max_size=20)


def decoded(document: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(document))


def flat_of(**settings: object) -> metadata.Flat:
    return {key.replace("_", "."): raw(content) for key, content in settings.items()}


def test_leaves_are_stored_under_dotted_keys() -> None:
    """LIB-6, M11."""
    flat = metadata.flatten({"address": {"line": "Elm 1", "tags": ["a", 2]}, "vip": True, "none": None}, "user_data")
    assert {key: bytes(text) for key, text in flat.items()} == {
        "user_data.address.line": b'"Elm 1"',
        "user_data.address.tags": b'["a",2]',
        "user_data.vip": b"true",
        "user_data.none": b"null",
    }


def test_an_empty_object_has_no_leaves() -> None:
    assert metadata.flatten({"a": {}, "b": {"c": {}}}) == {}


@pytest.mark.parametrize("document", [b"[1]", b'"text"', b"null", b"5", b" [ ] "])
def test_a_document_that_is_not_an_object_has_no_leaves(document: bytes) -> None:
    assert metadata.flatten(document) == {}


def test_numbers_keep_their_digits() -> None:
    text = b'{"whole": 42, "big": 123456789012345678901234567890, "exact": 1.10, "tiny": 1e-7}'
    document = metadata.nest(metadata.flatten(text))
    assert (
        msgspec.json.encode(document) == b'{"whole":42,"big":123456789012345678901234567890,"exact":1.10,"tiny":1e-7}'
    )


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":nope}', b"{'a':1}", b"\xff"])
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(Refused, match="not JSON"):
        metadata.flatten(text)


def test_depth_keys_and_parts_are_bounded() -> None:
    deep: object = 1
    for _ in range(metadata.DEPTH_MAX + 1):
        deep = {"a": deep}
    with pytest.raises(Refused, match="levels deep"):
        metadata.flatten({"a": deep})
    with pytest.raises(Refused, match="keys"):
        metadata.flatten({str(number): number for number in range(metadata.KEYS_MAX + 1)})
    with pytest.raises(Refused, match="parts"):
        metadata.flatten({".".join("a" * (metadata.PARTS_MAX + 1)): 1})
    with pytest.raises(Refused, match="not JSON"):
        metadata.flatten(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_setting_a_value_removes_the_keys_below_it() -> None:
    """LIB-5."""
    flat = flat_of(contact_address_line=1, contact_address_city=2, contact_name="I")
    metadata.put(flat, "contact.address", raw("X"))
    assert decoded(metadata.nest(flat)) == {"contact": {"name": "I", "address": "X"}}


def test_setting_a_value_removes_the_keys_above_it() -> None:
    flat = flat_of(contact="X")
    metadata.put(flat, "contact.address.line", raw(1))
    assert decoded(metadata.nest(flat)) == {"contact": {"address": {"line": 1}}}


def test_a_key_with_a_common_prefix_is_another_key() -> None:
    flat = flat_of(contacts="X", con="Y")
    metadata.put(flat, "contact", raw(1))
    metadata.drop(flat, "contact")
    assert decoded(metadata.nest(flat)) == {"contacts": "X", "con": "Y"}


def test_removing_a_key_removes_everything_below_it() -> None:
    flat = flat_of(a_b_c=1, a_b_d=2, a_e=3)
    metadata.drop(flat, "a.b")
    assert decoded(metadata.nest(flat)) == {"a": {"e": 3}}


def test_changed_is_none_if_nothing_differs() -> None:
    flat = flat_of(a=1)
    assert metadata.changed(flat, {"a": raw(1)}, ["b"]) is None
    assert metadata.changed(flat, {"a": raw(1)}, ["a"]) is None  # removals come first
    after = metadata.changed(flat, {"a": raw(2)}, [])
    assert after == flat_of(a=2)
    assert flat == flat_of(a=1)


@given(writes)
def test_no_sequence_of_writes_makes_a_conflict(made: list[tuple[bool, str, int]]) -> None:
    """The nested document has exactly the leaves of the flat map, and the newest write is one of them."""
    flat: metadata.Flat = {}
    for setting, key, number in made:
        if setting:
            metadata.put(flat, key, raw(number))
            assert flat[key] == raw(number)
        else:
            metadata.drop(flat, key)
            assert key not in flat
        assert metadata.conflicts(flat) == []
    assert metadata.flatten(msgspec.json.encode(metadata.nest(flat))) == flat


@given(st.dictionaries(words.filter(bool), documents, max_size=4))
def test_a_document_survives_flattening(document: dict[str, object]) -> None:
    """LIB-4. Except for objects without leaves."""
    assert decoded(metadata.nest(metadata.flatten(document))) == _pruned(document)


def _pruned(document: object) -> object:
    if not isinstance(document, dict):
        return document
    pruned = {key: _pruned(inner) for key, inner in document.items()}
    return {key: inner for key, inner in pruned.items() if inner != {}}


def test_text_is_none_for_other_types() -> None:
    flat = flat_of(name="Ines", number=5, list=[1])
    assert metadata.text(flat, "name") == "Ines"
    assert metadata.text(flat, "number") is metadata.text(flat, "list") is metadata.text(flat, "gone") is None
