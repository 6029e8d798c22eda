"""Reading any bytes gives a payload or `Undecodable`, in bounded time."""

import contextlib
import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from airy.errors import Undecodable
from airy.sources import payload

HOSTILE = {
    "openings only": b"[" * 1_000_000,
    "deeply nested lists": b"[" * 200_000 + b"]" * 200_000,
    "deeply nested objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "closings first": b"]" * 500_000 + b"[" * 500_000,
    "an unterminated string": b'"' + b'\\"' * 500_000,
    "an unterminated string at depth": b"[" * 70 + b'"' + b'\\"' * 500_000 + b"\\",
    "unterminated strings": b'"\\' * 500_000,
    "lone surrogates": b'"' + rb"\ud83d" * 150_000 + b'"',
    "backslashes": b'"' + b"\\" * 1_000_001 + b'"',
    "many small lists": b"[" + b"[]," * 300_000 + b"[]]",
    "a number": b"9" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_malicious_megabyte_is_read_in_less_than_a_second(name: str) -> None:
    started = time.process_time()
    with contextlib.suppress(Undecodable):
        payload.read(HOSTILE[name], element_level=5)
    assert time.process_time() - started < 1


def test_valid_json_is_returned_as_the_same_object() -> None:
    body = rb'{"a":"\ud83d\ude00 \\ud83d gr\u00fc\u00dfe","b":[1,{"c":null}]}'
    assert payload.read(body, element_level=5).body is body


@pytest.mark.parametrize(
    ("received", "body"),
    [
        (rb'{"a":"\ud83d"}', rb'{"a":"\ufffd"}'),
        (rb'{"a":"\ude00\ud83d"}', rb'{"a":"\ufffd\ufffd"}'),
        (rb'{"a":"\uD83D\uDE00\uD83D"}', rb'{"a":"\uD83D\uDE00\ufffd"}'),
        (rb'{"a":"\\ud83d"}', rb'{"a":"\\ud83d"}'),
        (rb'{"a":"\\\ud83d"}', rb'{"a":"\\\ufffd"}'),
        (rb'{"\ud83d":1}', rb'{"\ufffd":1}'),
        (b'{"a":"\xff"}', '{"a":"�"}'.encode()),
        (b'{"a":"\xed\xa0\xbd"}', '{"a":"���"}'.encode()),
        (b'\xef\xbb\xbf{"a":1}', b'{"a":1}'),
        (b'{"a":"x\ny\x00"}', rb'{"a":"x\u000ay\u0000"}'),
    ],
)
def test_almost_valid_json_is_repaired(received: bytes, body: bytes) -> None:
    read = payload.read(received, element_level=5)
    assert read.body == body
    assert read.repaired(Raw(read.body)) is (body not in received)


@pytest.mark.parametrize(
    "junk", [b"", b" ", b"nope", b"{", b"{}x", b"NaN", b'{"a":Infinity}', b"'a'", b"\xff\xfe{\x00}\x00"]
)
def test_other_bytes_are_undecodable(junk: bytes) -> None:
    with pytest.raises(Undecodable, match="not JSON"):
        payload.read(junk, element_level=5)


@pytest.mark.parametrize(("levels", "kept"), [(60, True), (61, False)])
def test_the_whole_body_may_nest_64_levels(levels: int, kept: bool) -> None:
    bomb = b"[" * levels + b"]" * levels
    body = b'{"entry":[{"list":[' + bomb + b',{"fine":1}]}]}'
    read = payload.read(body, element_level=5).body
    assert (bomb in read) is kept
    assert b'{"fine":1}' in read
    assert isinstance(msgspec.json.decode(read), dict)


def test_unclosed_deep_nesting_is_rejected_before_decoding() -> None:
    with pytest.raises(Undecodable, match="nests deeper than 64 levels and ends in the middle"):
        payload.read(b"[" * 65 + b"]" * 60, element_level=5)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    body = json.dumps({"a": "[" * 500 + '"' + "{" * 500}).encode()
    assert payload.read(body, element_level=2).body is body


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


@given(JSON)
def test_json_passes_unchanged(thing: object) -> None:
    body = json.dumps(thing).encode()
    assert payload.read(body, element_level=5).body == body


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ud83e0 \x00é', max_size=80).map(str.encode))
def test_any_bytes_are_read_or_undecodable(body: bytes) -> None:
    try:
        read = payload.read(body, element_level=3)
    except Undecodable:
        return
    assert read.body.decode()


def test_equal_values_have_one_canonical_form() -> None:
    assert payload.canonical({"b": 1, "a": [{"d": None, "c": "ü"}]}) == '{"a":[{"c":"ü","d":null}],"b":1}'
    assert payload.canonical({"a": 2**80}) == '{"a":1208925819614629174706176}'
