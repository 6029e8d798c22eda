"""Writes of channels and tags number their changes, whatever clock and log do."""

from msgspec import json

from airy import topics
from airy.model.change import Change
from airy.store.api import Published
from tests.kit.builders import PAGE, channel
from tests.kit.edge import Desk, TwoPages, desk


async def changes(edge: Desk) -> list[Change]:
    found: list[Published] = []
    for where in (*topics.CHANNELS.where, *topics.TAGS.where):
        found += await edge.store.changes(where, after=(-1, -1), changes_max=100)
    return [published.change for published in found]


async def test_two_writes_of_one_millisecond_have_growing_numbers_and_ids_of_their_own() -> None:
    """Virtual time: nothing here takes any."""
    async with desk() as edge:
        tag = await edge.asked("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201)
        for name in ("soon", "later", "never"):
            await edge.asked("/tags.update", {"id": tag["id"], "name": name}, status=204)
        told = await changes(edge)
        sequences = [change.sequence for change in told]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in told}) == len(told) == 4
        assert [json.decode(change.body)["payload"]["name"] for change in told] == ["urgent", "soon", "later", "never"]


async def test_every_way_to_change_a_channel_numbers_it() -> None:
    async with desk() as edge:
        connect = {"page_id": PAGE, "page_token": TwoPages.token}
        await edge.asked("/channels.facebook.connect", connect)
        await edge.asked("/channels.facebook.connect", connect)
        channel_id = channel().id
        await edge.asked("/metadata.upsert", {"subject": "channel", "id": channel_id, "data": {"a": 1}}, status=204)
        await edge.asked("/channels.facebook.disconnect", {"channel_id": channel_id}, status=204)
        told = await changes(edge)
        sequences = [change.sequence for change in told]
        assert sequences == sorted(set(sequences))
        assert len({change.id for change in told}) == len(told) == 4


async def test_a_tag_made_again_under_its_key_is_told_again() -> None:
    async with desk() as edge:
        for _ in range(2):
            await edge.asked("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201, idempotency_key="k")
        assert len({change.id for change in await changes(edge)}) == 2
