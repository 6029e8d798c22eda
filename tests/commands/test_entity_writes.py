"""Writes of entities: every accepted one is a numbered change, and a concurrent write is never lost or undone."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from msgspec import json
from msgspec.structs import replace

from airy import topics
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord
from airy.bus.topic import Topic
from airy.commands import Writer
from airy.commands.entity_writer import WRITES_MAX
from airy.model.change import Change
from airy.store.api import StoredChange
from tests.kit.api import ApiHarness, FakePages, api_harness
from tests.kit.builders import PAGE, channel

Request = tuple[str, object]


async def changes(api: ApiHarness) -> list[Change]:
    found: list[StoredChange] = []
    for tp in (*topics.CHANNELS.topic_partitions, *topics.TAGS.topic_partitions):
        found += await api.store.changes(tp, after=(-1, -1), changes_max=100)
    return [published.change for published in found]


async def test_two_writes_in_one_millisecond_have_growing_sequences_and_distinct_ids() -> None:
    """Virtual time: no time passes between the writes."""
    async with api_harness() as api:
        tag = await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201)
        for name in ("soon", "later", "never"):
            await api.call("/tags.update", {"id": tag["id"], "name": name}, status=204)
        found = await changes(api)
        sequences = [change.sequence for change in found]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in found}) == len(found) == 4
        assert [json.decode(change.body)["payload"]["name"] for change in found] == ["urgent", "soon", "later", "never"]


async def test_every_command_that_changes_a_channel_numbers_the_change() -> None:
    async with api_harness() as api:
        connect = {"page_id": PAGE, "page_token": FakePages.token}
        await api.call("/channels.facebook.connect", connect)
        await api.call("/channels.facebook.connect", connect)
        channel_id = channel().id
        await api.call("/metadata.upsert", {"subject": "channel", "id": channel_id, "data": {"a": 1}}, status=204)
        await api.call("/channels.facebook.disconnect", {"channel_id": channel_id}, status=204)
        found = await changes(api)
        sequences = [change.sequence for change in found]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in found}) == len(found) == 4


async def test_creating_a_tag_again_with_its_idempotency_key_publishes_a_change_again() -> None:
    async with api_harness() as api:
        for _ in range(2):
            await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201, idempotency_key="k")
        assert len({change.id for change in await changes(api)}) == 2


# --- concurrent writes


class Gate:
    """Holds the first publish to a topic until `open`; all others pass."""

    def __init__(self, bus: MemoryBus, topic: Topic[Any]) -> None:
        self._publish, self._topic = bus.publish, topic.name
        self.reached, self.opened = anyio.Event(), anyio.Event()
        bus.publish = self.publish  # type: ignore[method-assign]

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if not self.reached.is_set() and any(record.topic == self._topic for record in records):
            self.reached.set()
            await self.opened.wait()
        return await self._publish(records)


async def overtaken(api: ApiHarness, topic: Topic[Any], slow: Request, fast: Request) -> tuple[int, int]:
    """The statuses of two requests: `slow` has read the entity, then `fast` is answered, then `slow` is written."""
    gate, statuses = Gate(api.bus, topic), list[int]()

    async def send_slow() -> None:
        statuses.append((await api.post(*slow)).status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_slow)
        await gate.reached.wait()
        status = (await api.post(*fast)).status
        gate.opened.set()
    return statuses[0], status


async def connected(api: ApiHarness) -> str:
    await api.call("/channels.facebook.connect", {"page_id": PAGE, "page_token": FakePages.token})
    return channel().id


async def test_a_disconnect_between_read_and_write_of_an_update_is_not_undone() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        update = ("/channels.update", {"channel_id": channel_id, "name": "New"})
        disconnect = ("/channels.facebook.disconnect", {"channel_id": channel_id})

        assert await overtaken(api, topics.CHANNELS, update, disconnect) == (404, 204)

        found = await api.store.channel(channel_id)
        assert found is not None
        assert (found.connected, found.token) == (False, None)


async def test_metadata_are_applied_to_the_channel_that_a_disconnect_left() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        upsert = ("/metadata.upsert", {"subject": "channel", "id": channel_id, "data": {"a": 1}})
        disconnect = ("/channels.facebook.disconnect", {"channel_id": channel_id})

        assert await overtaken(api, topics.CHANNELS, upsert, disconnect) == (204, 204)

        found = await api.store.channel(channel_id)
        assert found is not None
        assert (found.connected, found.token, bytes(found.metadata["user_data.a"])) == (False, None, b"1")


async def test_a_disconnect_overtaken_by_a_connect_unsubscribes_the_new_token_too() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        disconnect = ("/channels.facebook.disconnect", {"channel_id": channel_id})
        connect = ("/channels.facebook.connect", {"page_id": PAGE, "page_token": FakePages.token})

        assert await overtaken(api, topics.CHANNELS, disconnect, connect) == (204, 200)

        assert await api.store.channels() == []
        assert api.pages.subscribed == set()


async def test_two_updates_of_a_tag_both_take_effect() -> None:
    async with api_harness() as api:
        tag_id = (await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))["id"]
        name = ("/tags.update", {"id": tag_id, "name": "later"})
        color = ("/tags.update", {"id": tag_id, "color": "tag-blue"})

        assert await overtaken(api, topics.TAGS, name, color) == (204, 204)

        found = await api.store.tag(tag_id)
        assert found is not None
        assert (found.name, found.color) == ("later", "tag-blue")
        assert len(await changes(api)) == 3  # a rejected write makes no change


async def test_an_update_overtaken_by_a_deletion_does_not_create_the_tag_again() -> None:
    async with api_harness() as api:
        tag_id = (await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))["id"]
        rename = ("/tags.update", {"id": tag_id, "name": "later"})

        assert await overtaken(api, topics.TAGS, rename, ("/tags.delete", {"id": tag_id})) == (404, 204)

        assert await api.store.tags() == []


async def test_a_deletion_overtaken_by_an_update_deletes_the_newer_tag() -> None:
    async with api_harness() as api:
        tag_id = (await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))["id"]
        rename = ("/tags.update", {"id": tag_id, "name": "later"})

        assert await overtaken(api, topics.TAGS, ("/tags.delete", {"id": tag_id}), rename) == (204, 204)

        assert await api.store.tags() == []


async def test_two_updates_of_a_webhook_both_take_effect() -> None:
    async with api_harness() as api:
        made = await api.call("/webhooks.subscribe", {"url": "https://one.example.com/"})
        rename = ("/webhooks.update", {"id": made["id"], "name": "ours"})

        assert await overtaken(
            api, topics.WEBHOOKS, rename, ("/webhooks.update", {"id": made["id"], "events": ["message.created"]})
        ) == (200, 200)

        found = await api.store.webhook(made["id"])
        assert found is not None
        assert (found.name, found.events) == ("ours", ("message.created",))


async def test_a_write_that_loses_every_time_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_harness() as api:
        tag_id = (await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))["id"]
        append = Writer.append_entity
        rivals = 0

        async def losing(self: Writer, topic: Topic[Any], entity_id: str, entity: Any, **write: Any) -> Position:
            nonlocal rivals
            rivals += 1
            rival = replace(entity, name=f"rival {rivals}", updated_at_ms=write["base"] + 1)
            await append(self, topic, entity_id, rival, base=write["base"], write_id=f"rival {rivals}")
            return await append(self, topic, entity_id, entity, **write)

        monkeypatch.setattr(Writer, "append_entity", losing)
        answer = await api.call("/tags.update", {"id": tag_id, "name": "mine"}, status=409)

        assert "other requests changed this tag" in answer["message"]
        found = await api.store.tag(tag_id)
        assert found is not None
        assert (found.name, rivals) == (f"rival {WRITES_MAX}", WRITES_MAX)
