"""The API over a held partition: 503 with the reason, instead of stale reads or writes that cannot be read back."""

import pytest
from msgspec.structs import replace

from airy import topics
from airy.bus.record import ProducerRecord
from airy.bus.record_schema import PartitionHeld
from airy.model import ids
from airy.model.contact import KEY, ContactsWritten
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import Chat, channel, tag

REASON = 'record kind "message.pinned" version 7 is newer than this process; upgrade it'


async def hold(api: ApiHarness, record: ProducerRecord) -> None:
    newer = replace(record, headers=(("kind", b"message.pinned"), ("v", b"7")), value=b"{}")
    (position,) = await api.bus.publish([newer])
    while position.topic_partition not in api.projector.held:
        await api.projector.wait_for_progress(api.projector.version, 60.0)


def two_chats() -> tuple[Chat, Chat]:
    """In different partitions."""
    partition = topics.EVENTS.partition
    one = Chat(0)
    others = (Chat(seed) for seed in range(1, 99))
    return one, next(chat for chat in others if partition(chat.conversation_id) != partition(one.conversation_id))


async def refused(api: ApiHarness, path: str, body: object) -> None:
    answer = await api.post(path, body)

    assert (answer.status, answer.headers["retry-after"]) == (503, "30"), (path, answer.body)
    assert REASON in answer.json()["message"]
    assert "x-airy-position" not in answer.headers


async def test_requests_about_a_held_partition_are_503_and_others_are_served() -> None:
    held, other = two_chats()
    async with api_harness() as api:
        await api.append(channel(), held.received("a"), other.received("a"))
        await hold(api, topics.EVENTS.record(held.conversation_id, held.read()))

        for path in ("/conversations.info", "/messages.list", "/conversations.mark-read"):
            await refused(api, path, {"conversation_id": held.conversation_id})
            await api.call(path, {"conversation_id": other.conversation_id}, status=204 if "mark" in path else 200)
        await refused(api, "/messages.send", {"conversation_id": held.conversation_id, "message": {"text": "hi"}})
        await refused(api, "/conversations.list", {})
        await refused(api, "/contacts.list", {})
        await refused(api, "/contacts.info", {"conversation_id": held.conversation_id})
        await refused(api, "/contacts.info", {"id": ids.contact_id(held.conversation_id)})
        await api.call("/contacts.info", {"conversation_id": other.conversation_id})
        await api.call("/contacts.create", {"display_name": "Ines"}, status=201)
        await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201)


async def test_nothing_is_written_to_a_held_partition() -> None:
    held, _ = two_chats()
    async with api_harness() as api:
        await api.append(channel(), held.received("a"))
        await hold(api, topics.EVENTS.record(held.conversation_id, held.read()))
        before = await api.bus.end_offsets([topics.EVENTS])

        await refused(api, "/conversations.mark-read", {"conversation_id": held.conversation_id})

        assert await api.bus.end_offsets([topics.EVENTS]) == before


@pytest.mark.parametrize(("path", "body"), [("/tags.list", {}), ("/tags.update", {"id": tag().id, "name": "new"})])
async def test_entities_of_a_held_partition_are_503(path: str, body: object) -> None:
    async with api_harness() as api:
        await hold(api, topics.TAGS.record(tag().id, tag()))

        await refused(api, path, body)


async def test_a_writer_refuses_a_held_partition_before_it_publishes() -> None:
    held, other = two_chats()
    async with api_harness() as api:
        await hold(api, topics.EVENTS.record(held.conversation_id, held.received("a")))
        before = await api.bus.end_offsets([topics.EVENTS])

        with pytest.raises(PartitionHeld):
            await api.append(other.received("a"), held.received("b"))

        assert await api.bus.end_offsets([topics.EVENTS]) == before


async def test_a_held_partition_of_contacts_holds_contacts_alone() -> None:
    _, other = two_chats()
    async with api_harness() as api:
        await api.append(channel(), other.received("a"))
        await hold(api, topics.CONTACTS.record(KEY, ContactsWritten(id="w", at_ms=1)))

        await refused(api, "/contacts.list", {})
        await refused(api, "/contacts.info", {"conversation_id": other.conversation_id})
        await refused(api, "/contacts.create", {"display_name": "Ines"})
        await api.call("/conversations.info", {"conversation_id": other.conversation_id})
