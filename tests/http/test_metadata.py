"""`/metadata.*` as clients of the original Airy use them."""

import pytest

from airy.model import ids
from airy.model.metadata import KEYS_MAX
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import Chat, channel

UNKNOWN_ID = ids.derive("unknown")


async def test_metadata_is_set_below_user_data_on_every_subject() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        data = {"erp": {"id": "abc", "count": 42}, "list": ["a", 1], "flag": False, "nothing": None}
        for subject, name in (
            ("conversation", chat.conversation_id),
            ("message", chat.inbound_id("hello")),
            ("channel", chat.channel_id),
        ):
            answer = await api.post("/metadata.upsert", {"subject": subject, "id": name, "data": data})
            assert (answer.status, answer.body) == (204, b"")
            assert (await _metadata(api, chat, subject))["user_data"] == data
            more = {"subject": subject, "id": name, "data": {"erp": {"id": "xyz"}, "list": []}}
            await api.call("/metadata.upsert", more, status=204)
            found = await _metadata(api, chat, subject)
            assert found["user_data"] == {**data, "erp": {"id": "xyz", "count": 42}, "list": []}
            gone = {"subject": subject, "id": name, "keys": ["erp", "flag", "was.never.there"]}
            await api.call("/metadata.remove", gone, status=204)
            assert (await _metadata(api, chat, subject))["user_data"] == {"list": [], "nothing": None}


async def _metadata(api: ApiHarness, chat: Chat, subject: str) -> dict[str, object]:
    conversation = {"conversation_id": chat.conversation_id}
    found: dict[str, object]
    match subject:
        case "conversation":
            found = (await api.call("/conversations.info", conversation))["metadata"]
        case "channel":
            found = (await api.call("/channels.info", {"channel_id": chat.channel_id}))["metadata"]
        case _:
            found = (await api.call("/messages.list", conversation))["data"][0]["metadata"]
    return found


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"subject": "contact", "id": UNKNOWN_ID, "data": {}}, 400, "subject"),
        ({"subject": "channel", "id": "x", "data": {}}, 400, "id"),
        ({"subject": "channel", "id": UNKNOWN_ID}, 400, "data"),
        ({"subject": "channel", "id": UNKNOWN_ID, "data": None}, 400, "data"),
        ({"subject": "channel", "id": UNKNOWN_ID, "data": [1]}, 400, "data"),
        ({"subject": "channel", "id": UNKNOWN_ID, "data": {"a": 1}}, 404, "id"),
        ({"subject": "message", "id": UNKNOWN_ID, "data": {"a": 1}}, 404, "id"),
        ({"subject": "conversation", "id": UNKNOWN_ID, "data": {"a": 1}}, 404, "id"),
    ],
)
async def test_invalid_metadata_is_rejected_with_the_field(body: dict[str, object], status: int, field: str) -> None:
    async with api_harness() as api:
        problem = await api.call("/metadata.upsert", body, status=status)
        assert [error["field"] for error in problem["fields"]] == [field]


@pytest.mark.parametrize("subject", ["conversation", "message", "channel"])
async def test_metadata_over_the_limits_is_rejected_whole(subject: str) -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(name=None), chat.received("hello"))
        names = {"conversation": chat.conversation_id, "message": chat.inbound_id("hello"), "channel": chat.channel_id}
        about = {"subject": subject, "id": names[subject]}
        many = {f"k{number}": 1 for number in range(KEYS_MAX - 2)}
        await api.call("/metadata.upsert", {**about, "data": many}, status=204)
        for data in (
            {"a": 1, "b": 1, "c": 1},
            {"x": {str(number): 1 for number in range(KEYS_MAX + 1)}},
            {".".join("a" * 80): 1},
        ):
            problem = await api.call("/metadata.upsert", {**about, "data": data}, status=400)
            assert [error["field"] for error in problem["fields"]] == ["data"]
        assert (await _metadata(api, chat, subject))["user_data"] == many
        await api.call("/metadata.upsert", {**about, "data": {"k1": 1}}, status=204)


@pytest.mark.parametrize("keys", [[], [""], None, "a"])
async def test_removing_metadata_needs_keys(keys: object) -> None:
    async with api_harness() as api:
        problem = await api.call("/metadata.remove", {"subject": "channel", "id": UNKNOWN_ID, "keys": keys}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["keys"]
