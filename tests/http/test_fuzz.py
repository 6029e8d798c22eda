"""Any request to any action is answered with success or a 4xx problem, never with a 5xx."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from airy.http.action import Action
from airy.http.body_kinds import JsonArray
from airy.http.catalogue import ACTIONS
from airy.http.response_schemas import ProblemSchema
from airy.model import ids
from tests.kit.api import api_harness
from tests.kit.builders import Chat, channel
from tests.kit.event_loops import run_seeded
from tests.kit.response_schemas import validated

KNOWN = Chat()
REAL = {
    "conversation_id": KNOWN.conversation_id,
    "channel_id": KNOWN.channel_id,
    "message_id": KNOWN.outbound_id("ours"),
    "tag_id": ids.derive("tag"),
    "id": KNOWN.inbound_id("hello"),
    "subject": "message",
    "source": "facebook",
    "color": "tag-red",
    "name": "n",
    "state": "OPEN",
    "url": "https://x.y",
    "keys": ["a"],
    "contact_id": ids.contact_id(KNOWN.conversation_id),
    "via": {"phone": "1"},
    "conversations": {KNOWN.conversation_id: "facebook"},
    "suggestions": {"a": {"content": 1}},
    "data": {"a": 1},
    "message": {"text": "x"},
    "content": [1],
    "display_name": "Grace",
    "page_id": "204918377001",
    "page_token": "user token",
    "auth_token": "user token",
    "events": ["message.created"],
}


def fields_of(each: Action) -> tuple[str, ...]:
    """Of the JSON object, or of an item of the array."""
    return tuple(field for kind in each.body.types for field in kind.__struct_fields__)  # type: ignore[attr-defined]


def body_of(each: Action, fields: dict[str, object]) -> object:
    return [fields] if isinstance(each.body, JsonArray) else fields


FIELDS = sorted({field for each in ACTIONS for field in fields_of(each)} | {"position", "idempotency_key"})

texts = st.text(max_size=12) | st.sampled_from(
    ["", "*", '"', "a:b", "0", "-1", "٣", "\x00", "\ud800", "id:(", "99999999999999999999"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(KNOWN.conversation_id),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, object]:
    """A valid body of some action with a few fields replaced by arbitrary values."""
    each = draw(st.sampled_from(ACTIONS))
    body: dict[str, object] = {field: REAL[field] for field in fields_of(each) if field in REAL}
    for field in draw(st.lists(st.sampled_from([*fields_of(each), *FIELDS]), max_size=3)):
        body[field] = draw(values)
    return draw(st.sampled_from(each.paths)), body_of(each, body)


async def _send_all(all_requests: list[tuple[str, bytes]]) -> None:
    async with api_harness(wait_s=0.5) as api:
        await api.append(channel(), KNOWN.received("hello"), Chat().queued("ours"))
        with capture_logs() as logged:
            for path, body in all_requests:
                answer = await api.post(path, body)
                if answer.status == 503:  # only for a position that the store does not reach in time
                    assert b"has not reached position" in answer.body, (path, body)
                else:
                    assert answer.status < 500, (path, body, answer.body, logged)
                if answer.status >= 400:
                    assert validated(ProblemSchema, answer.json()).message, (path, body)


@given(st.lists(requests(), min_size=20, max_size=40))
@settings(max_examples=8)
def test_known_fields_with_any_values_never_cause_a_5xx(asked: list[tuple[str, object]]) -> None:
    run_seeded(0, _send_all, [(path, json.dumps(body).encode()) for path, body in asked])


@given(
    st.lists(
        st.tuples(st.sampled_from([each.paths[0] for each in ACTIONS]), st.binary(max_size=64)),
        min_size=20,
        max_size=30,
    )
)
@settings(max_examples=4)
def test_any_bytes_never_cause_a_5xx(asked: list[tuple[str, bytes]]) -> None:
    run_seeded(0, _send_all, asked)


@pytest.mark.parametrize("each", ACTIONS, ids=lambda each: each.paths[0])
def test_no_action_fails_on_hostile_values(each: Action) -> None:
    fields = fields_of(each) or ("x",)
    good = {field: REAL[field] for field in fields if field in REAL}
    hostile: list[bytes] = [
        b"[" * 5_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\xff\xfe",
        b'{"a":NaN}',
        b"{} {}",
        b"7",
    ]
    for field in fields:
        for value in (
            "\ud800",
            "\x00",
            "x" * 20_000,
            [[]],
            {"a": {"b": {}}},
            10**400,
            -1,
            1e308,
            "\u202e",
            "%00",
            "' OR 1=1",
        ):
            hostile.append(json.dumps(body_of(each, {**good, field: value})).encode())  # noqa: PERF401
        hostile.append(json.dumps(good).encode()[:-1] + b',"%s":1,"%s":2}' % (field.encode(), field.encode()))
    run_seeded(0, _send_all, [(each.paths[0], body) for body in hostile])


def test_the_valid_bodies_of_these_tests_succeed() -> None:
    """Otherwise the tests above would only ever reach the first check."""

    async def good() -> set[str]:
        passed: set[str] = set()
        async with api_harness() as api:
            await api.append(channel(), KNOWN.received("hello"), Chat().queued("ours"))
            for each in sorted(ACTIONS, key=lambda each: "disconnect" in each.paths[0]):
                body = {field: REAL[field] for field in fields_of(each) if field in REAL}
                if (await api.post(each.paths[0], body_of(each, body))).status < 300:
                    passed.add(each.paths[0])
        return passed

    passed = run_seeded(0, good)
    assert {path for path in passed if path.startswith("/conversations.")} == {
        each.paths[0] for each in ACTIONS if each.paths[0].startswith("/conversations.")
    }
    assert {
        "/messages.list",
        "/messages.send",
        "/messages.suggest-replies",
        "/contacts.create",
        "/contacts.import",
        "/metadata.upsert",
        "/metadata.remove",
        "/tags.create",
        "/tags.list",
    } <= passed
    assert {"/templates.create", "/templates.list", "/webhooks.subscribe", "/channels.facebook.connect"} <= passed
