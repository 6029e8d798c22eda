"""`/topics.*`: the topics of the log with their lag, and their records page by page, without a secret."""

from typing import Any

import msgspec
import pytest

from airy import topics
from airy.bus.record import ProducerRecord
from airy.bus.topic import Topic
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.response_schemas import ListSchema
from airy.http.topic_schemas import RecordPageSchema, TopicSchema
from airy.model.entity import User, UserSession
from airy.seal import SEALED
from tests.kit.api import CONFIGURED_SECRET, TOKEN, ApiHarness, api_harness
from tests.kit.builders import START_MS
from tests.kit.response_schemas import validated

RAW = topics.source_events("facebook")
AUDIT = topics.AUDIT


async def publish(api: ApiHarness, topic: Topic[Any], count: int, *, step_ms: int = 1_000) -> None:
    """Records with ascending numbers and times, over all partitions in turn."""
    await api.bus.publish(
        [
            ProducerRecord(
                topic.name,
                number % topic.partitions,
                b"key-%d" % (number % 4),
                b'{"n":%d}' % number,
                (),
                START_MS + number * step_ms,
            )
            for number in range(count)
        ]
    )


async def browse(api: ApiHarness, topic: Topic[Any] = RAW, **body: object) -> Any:
    answer = await api.call("/topics.browse", {"topic": topic.name, **body})
    validated(RecordPageSchema, answer)
    return answer


def numbers(page: Any) -> list[int]:
    return [record["value"]["n"] for record in page["data"]]


# --- the list


async def test_every_topic_is_listed_with_offsets_retention_writers_readers_and_lag() -> None:
    async with api_harness() as api:
        await publish(api, topics.EVENTS, 32)
        async with api.bus.subscribe([topics.EVENTS], group="webhook-publisher") as member:
            records = await member.fetch(records_max=100, wait_s=0)
            await member.commit({record.topic_partition: record.offset + 1 for record in records[:20]})
        answer = await api.call("/topics.list")

    validated(ListSchema[TopicSchema], answer)
    by_name = {each["name"]: each for each in answer["data"]}
    assert by_name.keys() == topics.BY_NAME.keys()
    events = by_name[topics.EVENTS.name]
    assert (events["records"], events["cleanup_policy"], events["retention"]) == (32, "delete", "for ever")
    assert events["partitions"][3] == {"partition": 3, "begin": 0, "end": 20, "records": 2}
    assert "api-communication" in events["writers"]
    assert "webhook-publisher" in events["readers"]
    groups = {group["group"]: group for group in events["groups"]}
    oldest_ms = START_MS + 4_000  # partitions 4 to 15 have one record that is not committed
    age_s = (api.clock.now_ms() - (oldest_ms + 16_000)) / 1000
    assert groups["webhook-publisher"]["lag"] == 12
    assert groups["webhook-publisher"]["age_s"] == pytest.approx(age_s, abs=5)
    partitions = groups["webhook-publisher"]["partitions"]
    assert [each["lag"] for each in partitions] == [0] * 4 + [1] * 12
    assert (partitions[3]["position"], partitions[3]["age_s"]) == (20, 0.0)
    assert (partitions[4]["partition"], partitions[4]["position"]) == (4, 5)
    assert max(each["age_s"] for each in partitions) == groups["webhook-publisher"]["age_s"]
    fetcher = groups["media-fetcher"]
    assert fetcher["partitions"] == []
    assert (fetcher["component"], fetcher["lag"], fetcher["age_s"]) == ("media-resolver", None, None)
    assert [group["group"] for group in by_name[RAW.name]["groups"]] == ["sources.facebook.router"]
    assert by_name[topics.COMPONENTS.name]["cleanup_policy"] == "compact"
    assert by_name[RAW.name]["retention_ms"] == 14 * 86_400_000


# --- pages


async def test_the_newest_records_come_without_a_start_and_older_pages_reach_the_beginning() -> None:
    async with api_harness() as api:
        await publish(api, RAW, 50)
        page = await browse(api, page_size=20)
        assert numbers(page) == list(range(30, 50))
        assert page["pagination_data"]["at_end"] is True
        first = page["data"][0]
        assert (first["partition"], first["key"], first["encoding"]) == (30 % 16, "key-2", "json")
        assert first["time"] == "2026-01-01T00:00:30.000Z"

        page = await browse(api, positions=page["pagination_data"]["older"], direction="older", page_size=20)
        assert numbers(page) == list(range(10, 30))
        page = await browse(api, positions=page["pagination_data"]["older"], direction="older", page_size=20)
        assert numbers(page) == list(range(10))
        assert page["pagination_data"]["older"] is None

        page = await browse(api, positions=page["pagination_data"]["newer"], page_size=30)
        assert numbers(page) == list(range(10, 40))
        assert page["pagination_data"]["at_end"] is False
        page = await browse(api, positions=page["pagination_data"]["newer"], page_size=30)
        assert numbers(page) == list(range(40, 50))
        assert page["pagination_data"]["at_end"] is True


async def test_one_partition_is_read_from_an_offset_and_all_from_a_time() -> None:
    async with api_harness() as api:
        await publish(api, RAW, 50)
        assert numbers(await browse(api, partitions=[3], offset=4)) == [19, 35]
        assert numbers(await browse(api, partitions=[3], offset=35, direction="older")) == [3, 19]
        assert numbers(await browse(api, time="2026-01-01T00:00:40Z", page_size=3)) == [40, 41, 42]
        assert numbers(await browse(api, time=START_MS + 40_000, direction="older", page_size=2)) == [38, 39]
        assert numbers(await browse(api, direction="newer", page_size=2)) == [0, 1]
        assert numbers(await browse(api, time=START_MS + 60_000)) == []


async def test_a_key_is_looked_for_in_its_partition_across_more_records_than_a_page() -> None:
    async with api_harness() as api:
        (wanted,) = [RAW.record("page-1", b'{"n":1}')]
        await api.bus.publish([wanted])
        await api.bus.publish(
            [ProducerRecord(RAW.name, wanted.partition, b"other", b'{"n":%d}' % n) for n in range(2, 900)]
        )
        page = await browse(api, key="page-1", page_size=5)
        assert numbers(page) == [1]
        assert page["partitions"] == [{"partition": wanted.partition, "begin": 0, "end": 899}]
        assert page["pagination_data"]["older"] is None


async def test_a_search_that_reaches_its_limit_says_where_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.commands.record_pages.SCANNED_RECORDS_MAX", 600)
    async with api_harness() as api:
        await api.bus.publish([AUDIT.record("ada", None)])
        await api.bus.publish([ProducerRecord(AUDIT.name, 0, b"other", b"{}") for _ in range(2_000)])
        page, pages = await browse(api, AUDIT, key="ada", direction="newer", page_size=1), 1
        assert [record["encoding"] for record in page["data"]] == ["none"]
        page = await browse(api, AUDIT, key="ada", page_size=1)
        while not page["data"]:
            assert page["pagination_data"]["complete"] is False
            older = page["pagination_data"]["older"]
            page = await browse(api, AUDIT, key="ada", page_size=1, positions=older, direction="older")
            pages += 1
        assert (page["data"][0]["offset"], pages > 2) == (0, True)


@pytest.mark.parametrize(
    ("body", "status", "field", "said"),
    [
        ({"topic": "source.facebook.event"}, 404, "topic", "did you mean source.facebook.events?"),
        ({"partitions": [16]}, 400, "partitions", "has partitions 0 to 15, not 16"),
        ({"partitions": []}, 400, "partitions", "must name a partition"),
        ({"partitions": [0], "offset": 99}, 400, "offset", "has offsets from 0 to 1, not 99"),
        ({"offset": 0}, 400, "offset", "is of one partition"),
        ({"offset": 0, "time": 0, "partitions": [0]}, 400, "time", "give one of offset and time"),
        ({"positions": {"0": 7}}, 400, "positions.0", "has offsets from 0 to 1, not 7"),
        ({"positions": {"x": 7}}, 400, "positions", "is not the number of a partition"),
        ({"key": "page-9", "partitions": [0]}, 400, "partitions", "records with this key are in partition"),
        ({"page_size": 201}, 400, "page_size", "must be 1 to 200"),
        ({"time": "yesterday"}, 400, "time", "must be a time"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_what_can_be(
    body: dict[str, object], status: int, field: str, said: str
) -> None:
    async with api_harness() as api:
        await publish(api, RAW, 1)
        answer = await api.call("/topics.browse", {"topic": RAW.name, **body}, status=status)
    assert [each["field"] for each in answer["fields"]] == [field]
    assert said in answer["fields"][0]["message"]


async def test_a_position_that_retention_removed_is_refused_with_the_range() -> None:
    async with api_harness() as api:
        await publish(api, RAW, 1, step_ms=0)
        api.clock.set(15 * 86_400_000)
        await api.bus.run_retention()
        answer = await api.call("/topics.browse", {"topic": RAW.name, "partitions": [0], "offset": 0}, status=400)
    assert "has offsets from 1 to 1, not 0" in answer["message"]


# --- what is shown of a record


async def test_values_are_json_text_or_base64_and_long_ones_are_cut() -> None:
    async with api_harness() as api:
        values = [b"plain", b"\xff\x00", b'{"text":"' + b"x" * 70_000 + b'"}', b"y" * 70_000, b""]
        await api.bus.publish([ProducerRecord(RAW.name, 0, b"\xfe", value, (("h", b"1"),)) for value in values])
        page = await browse(api)
    shown = [(each["encoding"], each["cut"], len(str(each["value"]))) for each in page["data"]]
    assert shown == [
        ("text", False, 5),
        ("base64", False, 4),
        ("text", True, 65_536),
        ("text", True, 65_536),
        ("text", False, 0),
    ]
    assert page["data"][0]["headers"] == [{"name": "h", "value": "1"}]
    assert page["data"][0]["key"] == "\\xfe"
    assert page["data"][3]["size_bytes"] == 70_001


async def test_a_page_is_bounded_in_bytes_and_the_next_one_goes_on() -> None:
    async with api_harness() as api:
        await api.bus.publish([ProducerRecord(RAW.name, 0, b"", b"z" * 400_000) for _ in range(5)])
        newest = await browse(api)
        assert [each["offset"] for each in newest["data"]] == [3, 4]
        older = await browse(api, positions=newest["pagination_data"]["older"], direction="older")
        assert [each["offset"] for each in older["data"]] == [1, 2]
        oldest = await browse(api, direction="newer")
        assert [each["offset"] for each in oldest["data"]] == [0, 1]
        assert oldest["pagination_data"]["newer"]["0"] == 2


async def test_no_record_of_any_topic_shows_a_secret() -> None:
    """Everything that holds a secret is written by the commands that write it, then every topic is browsed."""
    async with api_harness() as api:
        secrets = ["long lived token", "user token", CONFIGURED_SECRET, "header-secret", "hook-signature-key"]
        await api.call("/channels.facebook.connect", {"page_id": "204918377001", "page_token": "user token"})
        hook = {
            "url": "https://hook.example.org",
            "headers": {"X-Custom": "header-secret"},
            "signature_key": "hook-signature-key",
        }
        secrets.append((await api.call("/webhooks.subscribe", hook))["signing_secret"])
        made = await api.call("/tokens.create", {"name": "n", "role": "agent"}, status=201)
        secrets.append(made["token"])
        source = await api.call("/sources.create", {"source_id": "shop"})
        secrets.append(source["token"])
        session = UserSession(id="s", sha256="5e55" * 16, created_at_ms=START_MS, expires_at_ms=START_MS)
        await api.bus.publish([topics.USERS.record("github:ada", User(id="github:ada", sessions=(session,)))])
        body = msgspec.json.encode({"verify_token": "in-the-body", "deep": [{"app_secret": {"a": "nested"}}]})
        headers = (("authorization", b"Bearer in-a-header"), ("x-note", CONFIGURED_SECRET.encode()))
        form = RAW.record("page", b"id=1&verify_token=in-the-form")
        await api.bus.publish([RAW.record("page", body, headers=headers), form])
        secrets += ["in-a-header", "nested", "in-the-body", "in-the-form"]
        sealed = {
            text
            for topic in topics.ALL
            for record in await api.records(topic)
            for text in SEALED.findall((record.value or b"").decode("utf-8", "replace"))
        }
        hashes = [
            entry["sha256"]
            for topic in (topics.API_TOKENS, topics.USERS)
            for record in await api.records(topic)
            for value in [msgspec.json.decode(record.value or b"{}")]
            for entry in [value, *value.get("sessions", [])]
            if "sha256" in entry
        ]
        assert len(sealed) >= 5
        assert len(hashes) == 2
        elsewhere = min(sealed).encode()
        await api.bus.publish(
            [
                RAW.record("page", b'{"note":"%s"}' % elsewhere, headers=(("x-note", elsewhere),)),
                RAW.record("p", elsewhere),
            ]
        )
        entity = (await api.records(topics.WEBHOOKS))[0]
        dead = topics.dead_letters_of(topics.WEBHOOKS.name)
        assert dead is not None
        await api.bus.publish(
            [
                ProducerRecord(dead.name, 0, entity.key, entity.value),
                ProducerRecord(dead.name, 0, entity.key, b"\xff" + (entity.value or b"")),
                ProducerRecord(topics.WEBHOOKS.name, 0, entity.key, (entity.value or b"")[:-1]),
            ]
        )
        shown = b""
        encodings = []
        for topic in topics.ALL:
            answer = await api.post("/topics.browse", {"topic": topic.name, "page_size": 200})
            shown += answer.body
            encodings += [record["encoding"] for record in answer.json()["data"]]

    text = shown.decode()
    assert [each for each in (*secrets, *hashes, *sealed, TOKEN) if each in text] == []
    assert encodings.count("withheld") == 3  # the store dead-letters the last of them
    assert '"masked":true' in text
    assert "hook.example.org" in text


class Operator:
    """Authenticates every request as a caller with every permission but to inspect."""

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("operator", frozenset(Permission) - {Permission.INSPECT})


async def test_operating_an_instance_does_not_permit_reading_its_messages() -> None:
    async with api_harness(authenticators=[Operator()]) as api:
        assert (await api.post("/topics.list", {})).status == 200
        assert (await api.post("/topics.browse", {"topic": RAW.name})).status == 403
