"""Writes of channels and tags number their changes, whatever clock and log do."""

from msgspec import json

from airy import topics
from airy.model.change import Change
from airy.store.api import StoredChange
from tests.kit.api import ApiHarness, FakePages, api_harness
from tests.kit.builders import PAGE, channel


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
        told = await changes(api)
        sequences = [change.sequence for change in told]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in told}) == len(told) == 4
        assert [json.decode(change.body)["payload"]["name"] for change in told] == ["urgent", "soon", "later", "never"]


async def test_every_command_that_changes_a_channel_numbers_the_change() -> None:
    async with api_harness() as api:
        connect = {"page_id": PAGE, "page_token": FakePages.token}
        await api.call("/channels.facebook.connect", connect)
        await api.call("/channels.facebook.connect", connect)
        channel_id = channel().id
        await api.call("/metadata.upsert", {"subject": "channel", "id": channel_id, "data": {"a": 1}}, status=204)
        await api.call("/channels.facebook.disconnect", {"channel_id": channel_id}, status=204)
        told = await changes(api)
        sequences = [change.sequence for change in told]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in told}) == len(told) == 4


async def test_creating_a_tag_again_with_its_idempotency_key_publishes_a_change_again() -> None:
    async with api_harness() as api:
        for _ in range(2):
            await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201, idempotency_key="k")
        assert len({change.id for change in await changes(api)}) == 2
