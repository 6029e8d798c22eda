"""`/dead-letters.*`: list, read, replay and discard over HTTP, for callers with the manage permission."""

import pytest

from airy import topics
from airy.bus.dead_letter import make_dead_letter
from airy.bus.record import Record
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.response_schemas import (
    DeadLetterDetailSchema,
    DeadLetterOutcomeSchema,
    DeadLetterSchema,
    ListSchema,
    PageSchema,
)
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import Chat, channel
from tests.kit.response_schemas import validated

RAW = topics.source_events("facebook")
ACTIONS = ("list", "info", "replay", "discard")


class Operator:
    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("operator", frozenset(Permission) - {Permission.MANAGE})


async def append(api: ApiHarness, count: int, value: bytes = b'{"a":1}') -> list[str]:
    """Append dead letters of raw webhooks; return their ids, newest first."""
    dead_letters = topics.dead_letters_of(RAW.name)
    assert dead_letters is not None
    originals = [
        Record(RAW.name, 0, number, b"page", value, (("request-id", b"r-%d" % number),), 0) for number in range(count)
    ]
    await api.bus.publish([make_dead_letter(dead_letters, each, "no entry", 1) for each in originals])
    return [f"{RAW.name}/0/{number}" for number in reversed(range(count))]


async def test_dead_letters_are_listed_newest_first_in_pages() -> None:
    async with api_harness() as api:
        names = await append(api, 5)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            body = {"page_size": 2, "cursor": cursor, "topic": RAW.name}
            page = validated(PageSchema[DeadLetterSchema], await api.call("/dead-letters.list", body))
            seen += [letter.id for letter in page.data]
            cursor = page.pagination_data.next_cursor
            assert page.pagination_data.total == 5
        assert (sorted(seen), cursor) == (sorted(names), None)
        assert {letter.reason for letter in page.data} == {"no entry"}
        assert (await api.call("/dead-letters.list", {"state": "replayed"}))["data"] == []
        for body in ({"cursor": "nonsense"}, {"state": "gone"}):
            await api.call("/dead-letters.list", body, status=400)
        await api.call("/dead-letters.list", {"topic": "nope"}, status=404)


@pytest.mark.parametrize(("value", "encoding", "body"), [(b'{"a":1}', "text", '{"a":1}'), (b"\xff", "base64", "/w==")])
async def test_a_dead_letter_is_shown_with_headers_and_body(value: bytes, encoding: str, body: str) -> None:
    async with api_harness() as api:
        [name] = await append(api, 1, value)
        letter = validated(DeadLetterDetailSchema, await api.call("/dead-letters.info", {"id": name}))
        assert (letter.id, letter.body_encoding, letter.body) == (name, encoding, body)
        assert [(header.name, header.value) for header in letter.headers] == [("request-id", "r-0")]
        await api.call("/dead-letters.info", {"id": f"{RAW.name}/0/9"}, status=404)


async def test_replaying_twice_says_so() -> None:
    async with api_harness() as api:
        names = await append(api, 2)
        outcomes = validated(
            ListSchema[DeadLetterOutcomeSchema], await api.call("/dead-letters.replay", {"ids": names})
        )
        assert {outcome.id: outcome.result for outcome in outcomes.data} == dict.fromkeys(names, "replayed")
        assert [record.value for record in await api.records(RAW)] == [b'{"a":1}'] * 2
        again = await api.call("/dead-letters.replay", {"ids": names[:1]})
        assert again["data"] == [{"id": names[0], "result": "already_replayed"}]
        assert (await api.call("/dead-letters.list"))["data"] == []
        for body in ({}, {"ids": []}, {"ids": names * 51}):
            await api.call("/dead-letters.replay", body, status=400)


async def test_discarding_leaves_the_record_alone_and_keeps_the_caller_and_the_reason() -> None:
    async with api_harness() as api:
        [name] = await append(api, 1)
        await api.call("/dead-letters.discard", {"ids": [name], "reason": "x" * 257}, status=400)
        discarded = await api.call("/dead-letters.discard", {"ids": [name], "reason": " a test "})
        assert discarded["data"] == [{"id": name, "result": "discarded"}]
        [letter] = (await api.call("/dead-letters.list", {"state": "all"}))["data"]
        assert (letter["state"], letter["resolved_at"] is None) == ("discarded", False)
        assert (letter["resolved_by"], letter["resolution_reason"]) == ("system-token-tests", "a test")
        assert await api.records(RAW) == []


async def test_a_replayed_fact_has_a_position_that_reads_can_wait_for() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel())
        record = topics.EVENTS.record(chat.conversation_id, chat.received("hello"))
        dead_letters = topics.dead_letters_of(topics.EVENTS.name)
        assert dead_letters is not None
        original = Record(record.topic, record.partition, 7, record.key, record.value, record.headers, 0)
        await api.bus.publish([make_dead_letter(dead_letters, original, "a bug", 1)])
        answer = await api.post("/dead-letters.replay", {"ids": [f"{topics.EVENTS.name}/{record.partition}/7"]})
        position = answer.headers["x-airy-position"]
        listed = await api.call("/conversations.list", None, x_airy_position=position)
        assert [each["id"] for each in listed["data"]] == [chat.conversation_id]


async def test_dead_letters_need_the_manage_permission() -> None:
    async with api_harness(authenticators=[Operator()]) as api:
        for verb in ACTIONS:
            assert (await api.post(f"/dead-letters.{verb}", {})).status == 403, verb
