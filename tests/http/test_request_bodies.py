"""Every request body is decoded as its route declares, or is a 4xx that names the field."""

import json
import time
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from airy.http import request_bodies as bodies
from airy.http.asgi import RawHeaders, Receive
from airy.http.body_reader import BodyLimits, BodyReader, ClientDisconnected
from airy.http.problems import Problem, problem_of, render
from airy.http.request_bodies import Id, Json, Text
from airy.secret import Secret

JSON = [(b"content-type", b"application/json")]
UUID = "1f0c2a3e-5b7d-4c8e-9f10-2a3b4c5d6e7f"


class Shape(Struct, frozen=True):
    conversation_id: Id
    name: Text | None = None
    page_size: int | None = None
    message: Json | None = None
    color: Literal["red", "blue"] | None = None
    headers: dict[str, Text] | None = None
    signature_key: Secret | None = None


def decode(body: object, headers: RawHeaders = JSON) -> Shape:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bodies.convert(bodies.json_object(raw, headers), Shape)


def refusal(body: object, headers: RawHeaders = JSON) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(body, headers)
    return caught.value


def test_unknown_keys_are_ignored_and_null_counts_as_absent() -> None:
    found = decode({"conversation_id": UUID, "name": None, "page_size": None, "message": None, "what": [1]})
    assert found == Shape(conversation_id=Id(UUID))


def test_ids_are_canonical_lower_case() -> None:
    assert decode({"conversation_id": UUID.upper()}).conversation_id == UUID


@pytest.mark.parametrize(("given", "expected"), [(0, "0"), (7.5, "7.5"), (True, "true"), ("x", "x"), ("", "")])
def test_scalars_are_accepted_as_text(given: object, expected: str) -> None:
    assert decode({"conversation_id": UUID, "name": given}).name == expected


@pytest.mark.parametrize(("given", "expected"), [("20", 20), (20.0, 20), ("", None), (-1, -1)])
def test_numeric_text_is_accepted_as_a_number(given: object, expected: int | None) -> None:
    assert decode({"conversation_id": UUID, "page_size": given}).page_size == expected


def test_camel_case_is_accepted_and_snake_case_takes_precedence() -> None:
    camel = decode({"conversationId": UUID, "pageSize": 3, "signatureKey": "k", "page_size": 4})
    assert (camel.conversation_id, camel.page_size) == (UUID, 4)
    assert camel.signature_key is not None
    assert camel.signature_key.reveal() == "k"


def test_free_json_keeps_its_structure_and_key_order() -> None:
    text = b'{"conversation_id":"%s","message":{"z":[1,2.50,null,{"A":"\\u00fc"}],"a":{}}}' % UUID.encode()
    message = decode(text).message
    assert message is not None
    assert bytes(message.raw) == '{"z":[1,2.5,null,{"A":"ü"}],"a":{}}'.encode()


def test_all_invalid_fields_are_named_at_once() -> None:
    problem = refusal({"conversation_id": "no", "page_size": "x", "color": "green", "headers": {"X": [1]}})
    assert {error.field: error.message for error in problem.fields} == {
        "conversation_id": "must be a UUID",
        "page_size": "must be a whole number, not text",
        "color": "must be one of red, blue",
        "headers[...]": "must be text, not an array",
    }
    assert problem.status == 400


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b"null"])
def test_no_body_counts_as_an_empty_object(body: bytes) -> None:
    assert [(error.field, error.message) for error in refusal(body).fields] == [("conversation_id", "is required")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a":1e999}', "a"),
        (b'{"a":1,"b":{"c":[{},{"d":-9223372036854775809}]}}', "b.c[1].d"),
        (b'{"a":"1e999","b":9223372036854775808}', "b"),
        (b'{"a":1e999', None),
        (b"1e999", None),
    ],
)
def test_a_number_that_is_out_of_range_is_named_by_its_field(body: bytes, field: str | None) -> None:
    problem = refusal(body)
    assert "out of range" in problem.message
    assert [error.field for error in problem.fields] == ([field] if field else [])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[1]", "must be a JSON object, not an array"),
        (b'"x"', "not text"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":%s}' % (b"9" * 5_000), "at most 64 bits"),
        (b'{"a":9223372036854775808}', "at most 64 bits"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "c is given twice"),
        (b'{"a":"\\ud800"}', "unpaired surrogate"),
        (b'{"\\udc00":1}', "unpaired surrogate"),
        (b'{"\\ud800":1,"\\ud800":1}', "given twice"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":', "not JSON"),
        (b'{"a":1}}', "not JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "nests deeper than 64"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nests deeper than 64"),
        (b'{"a\n":1}', "not JSON"),
    ],
)
def test_a_body_that_is_not_plain_json_is_a_400_with_the_reason(body: bytes, says: str) -> None:
    problem = refusal(body)
    assert problem.status == 400
    assert says in problem.message
    status, _, rendered = render(problem)
    assert status == 400
    assert set(msgspec.json.decode(rendered)) == {"message", "code", "fields"}


def test_depth_is_counted_outside_strings_only() -> None:
    deep_text = json.dumps({"conversation_id": UUID, "name": '[{"' * 300})
    assert decode(deep_text.encode()).name == '[{"' * 300
    at_the_limit = b"[" * 64 + b"]" * 64
    assert bodies.parse(at_the_limit)
    assert bodies.nested_deeper(b"[" + at_the_limit + b"]", 64)


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * 300_000, b'[{"\\' * 150_000, b"[]" * 300_000, b'"\\' * 300_000, b'\\"[' * 200_000]
)
def test_measuring_depth_takes_linear_time(body: bytes) -> None:
    began = time.process_time()  # processor time of this process, as the machine may be busy
    bodies.nested_deeper(body, 64)
    assert time.process_time() - began < 2.0  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 415),
        ([(b"content-type", b"text/plain")], 415),
        ([(b"content-type", b"application/x-www-form-urlencoded")], 415),
        ([(b"content-type", b"application/json; charset=utf-16")], 415),
        ([*JSON, (b"content-encoding", b"gzip")], 415),
        ([(b"content-type", b'Application/JSON; charset="UTF-8"')], 200),
        ([(b"content-type", b"application/vnd.airy+json")], 200),
        ([*JSON, (b"content-encoding", b"identity")], 200),
    ],
)
def test_only_plain_json_is_accepted(headers: RawHeaders, status: int) -> None:
    body = json.dumps({"conversation_id": UUID}).encode()
    if status == 200:
        assert decode(body, headers).conversation_id == UUID
    else:
        assert refusal(body, headers).status == status


def test_secrets_appear_neither_in_repr_nor_in_errors() -> None:
    found = decode({"conversation_id": UUID, "signature_key": "hunter2hunter2"})
    assert "hunter2" not in repr(found)
    problem = refusal({"conversation_id": UUID, "signature_key": {"hunter2": 1}})
    assert "hunter2" not in repr(render(problem))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(UUID),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
bodies_of_shape = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*Shape.__struct_fields__, "pageSize", "other"), json_values)
)


@given(bodies_of_shape)
def test_any_json_is_decoded_or_a_4xx(body: dict[str, object]) -> None:
    text = json.dumps(body).encode()
    try:
        found = decode(text)
    except Problem as problem:
        assert problem.status == 400
        msgspec.json.decode(render(problem)[2])
    else:
        if found.message is not None:  # accepted JSON decodes everywhere
            msgspec.json.decode(found.message.raw)
            msgspec.json.encode({"x": Raw(found.message.raw), "name": found.name, "headers": found.headers})


@given(st.binary(max_size=200) | st.text('[]{}":,\\u0d8cx1eE-.ntf ').map(str.encode))
def test_any_bytes_are_decoded_or_a_4xx(body: bytes) -> None:
    try:
        decode(body)
    except Exception as error:  # noqa: BLE001
        assert 400 <= problem_of(error).status < 500, error


# --- reading


def receiving(*parts: bytes, then: str = "http.disconnect") -> Receive:
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) or then != ""}
        for number, part in enumerate(parts, start=1)
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0) if messages else {"type": then}

    return receive


async def test_a_body_may_arrive_in_parts() -> None:
    reader = BodyReader(BodyLimits(bytes_max=6))
    assert await reader.read(receiving(b"abc", b"", b"def", then=""), []) == b"abcdef"
    assert reader.unfinished_bytes == 0


@pytest.mark.parametrize("parts", [(b"abcdefg",), (b"abc", b"defg")])
async def test_a_body_that_grows_too_long_is_a_413_and_closes_the_connection(parts: tuple[bytes, ...]) -> None:
    reader = BodyReader(BodyLimits(bytes_max=6))
    with pytest.raises(Problem, match="over 6 bytes") as caught:
        await reader.read(receiving(*parts, then=""), [])
    assert (caught.value.status, caught.value.headers) == (413, ((b"connection", b"close"),))
    assert reader.unfinished_bytes == 0


async def test_a_body_declared_too_long_is_not_read_further() -> None:
    for declared in (b"1048577", b"9" * 400):
        receive = receiving(b"begin", b"never read", then="")
        with pytest.raises(Problem, match="over 1048576 bytes"):
            await BodyReader().read(receive, [(b"content-length", declared)])
        assert (await receive())["body"] == b"never read"


async def test_the_bytes_of_all_incomplete_bodies_are_bounded() -> None:
    reader = BodyReader(BodyLimits(bytes_max=100, unfinished_bytes_max=5))
    with pytest.raises(Problem, match="too many request bodies") as caught:
        await reader.read(receiving(b"abc", b"def", then=""), [])
    assert caught.value.status == 503
    assert reader.unfinished_bytes == 0


async def test_a_disconnect_raises_its_own_error() -> None:
    reader = BodyReader()
    for parts in ((), (b"abc",)):
        with pytest.raises(ClientDisconnected):
            await reader.read(receiving(*parts), [])
    assert reader.unfinished_bytes == 0


def test_many_keys_of_which_one_is_given_twice_take_linear_time() -> None:
    body = "{" + ",".join(f'"k{number}":0' for number in (*range(50_000), 49_999)) + "}"
    started = time.perf_counter()

    with pytest.raises(Problem, match="k49999 is given twice"):
        bodies.parse(body.encode())

    assert time.perf_counter() - started < 5
