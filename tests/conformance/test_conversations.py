"""Conversations as the original's own tests and clients expect them, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airy.model import ids
from tests.kit.api import JWT_SECRET
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.conformance import FiveConversations, Installation, installation
from tests.kit.jwt import signed_token, user_claims

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@asynccontextmanager
async def five() -> AsyncIterator[tuple[Installation, FiveConversations]]:
    async with installation() as airy:
        conversations = FiveConversations()
        await conversations.write(airy)
        yield airy, conversations


async def info(airy: Installation, name: str) -> Any:
    return await airy.call("conversations.info", {"conversation_id": name})


async def test_com_13_v1_v2_v3_v4_v5_the_list_is_newest_first_and_paged() -> None:
    async with five() as (airy, of):
        everything = await airy.call("conversations.list")
        assert [each["id"] for each in everything["data"]] == of.names[::-1]
        assert everything["pagination_data"]["total"] == 5

        beyond = await airy.call("conversations.list", {"cursor": "100"})
        assert (beyond["data"], beyond["pagination_data"]["total"]) == ([], 5)

        first = await airy.call("conversations.list", {"page_size": 2, "cursor": 0})
        assert [each["id"] for each in first["data"]] == of.names[:2:-1]
        assert first["pagination_data"]["next_cursor"] == "2"

        second = await airy.call("conversations.list", {"page_size": 2, "cursor": 1})
        assert [each["id"] for each in second["data"]] == of.names[-2:-4:-1]
        last = await airy.call("conversations.list", {"page_size": 2, "cursor": 3})
        assert (len(last["data"]), last["pagination_data"]["next_cursor"]) == (2, None)

        huge = await airy.call("conversations.list", {"page_size": 10_000, "filters": "display_name:Grace"})
        assert (len(huge["data"]), huge["pagination_data"]["total"]) == (1, 1)


FILTERS = {
    "v6": ('id:"{escaped}"', [0]),
    "v7": ("display_name:Grace", [0]),
    "v7_lower_case": ("display_name:grace", [0]),
    "v8": ("tag_ids:({urgent})", [1, 0]),
    "v8_both": ("tag_ids:({urgent} AND {later})", [0]),
    "v9": ("unread_count:[2 TO *]", [2, 1]),
    "v9_exact": ("unread_count:2", [1]),
    "v10": ("source:facebook", [1, 0]),
    "v11": ('display_name:Grace OR id:"{other}"', [4, 0]),
    "v12": ("display_name:Unknown", []),
    "v13": ("metadata.user_data.erp.id:abc", [3]),
    "v20_unread": ("unread_count:[1 TO *]", [4, 3, 2, 1, 0]),
    "v20_read": ("unread_count:0", []),
    "v20_search": ("display_name:*race*", [0]),
    "v20_tags": ("tag_ids:({urgent} AND {later}) AND unread_count:[1 TO *]", [0]),
    "v20_channels": ("channel_id:({channel} OR {urgent})", [1, 0]),
    "v20_sources": ("source:(facebook OR twilio.sms)", [1, 0]),
    "v20_open": ("id:* AND NOT metadata.state:CLOSED", [4, 3, 2, 1]),
    "v20_closed": ("metadata.state:CLOSED", [0]),
}


async def test_com_14_v6_v7_v8_v9_v10_v11_v12_v13_v20_filters_select_the_conversations() -> None:
    async with five() as (airy, of):
        await airy.call("conversations.set-state", {"conversation_id": of.names[0], "state": "CLOSED"}, 204)
        values = {
            "escaped": of.names[0].replace("-", "\\-"),
            "other": of.names[4].replace("-", "\\-"),
            "urgent": of.urgent,
            "later": of.later,
            "channel": of.chats[0].channel_id,
        }
        for scenario, (filters, expected) in FILTERS.items():
            page = await airy.call("conversations.list", {"filters": filters.format(**values)})
            assert [of.names.index(each["id"]) for each in page["data"]] == expected, scenario
            assert page["pagination_data"]["total"] == len(expected), scenario


async def test_com_12_v14_a_conversation_has_the_name_of_its_last_sender_and_of_its_channel() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        expires_at_s = START_MS / 1000 + 9e6
        session = signed_token(user_claims("google:bob@example.org", expires_at_s=expires_at_s, name="Bob"), JWT_SECRET)
        body = {"conversation_id": chat.conversation_id, "message": {"text": "Yes."}}
        sent = await airy.call("messages.send", body, Authorization=session)
        assert sent["sender"] == {"id": "google:bob@example.org", "name": None, "avatar_url": None}

        named = {"id": "google:bob@example.org", "name": "Bob", "avatar_url": "https://x.y/b.png"}
        found = await info(airy, chat.conversation_id)
        assert found["last_message"]["sender"] == named
        assert found["channel"]["metadata"]["name"] == "Corner Bakery"
        (listed,) = (await airy.call("conversations.list"))["data"]
        assert listed["last_message"]["sender"] == named
        ours, theirs = (await airy.call("messages.list", {"conversation_id": chat.conversation_id}))["data"]
        assert (ours["sender"], theirs["sender"]["name"]) == (named, None)


async def test_com_7_v15_v16_a_conversation_is_tagged_and_untagged() -> None:
    async with five() as (airy, of):
        reference = {"conversation_id": of.names[4], "tag_id": ids.derive("tag", "new")}
        assert (await airy.post("conversations.tag", reference)).body == b""
        await airy.call("conversations.tag", reference, 204)
        assert (await info(airy, of.names[4]))["metadata"]["tags"] == {reference["tag_id"]: ""}
        await airy.call("conversations.untag", reference, 204)
        assert "tags" not in (await info(airy, of.names[4]))["metadata"]
        await airy.call("conversations.tag", {}, 400)
        await airy.call("conversations.untag", {}, 400)


async def test_com_10_v17_v18_state_and_name_of_a_conversation_are_set_and_removed() -> None:
    async with five() as (airy, of):
        reference = {"conversation_id": of.names[4]}
        await airy.call("conversations.set-state", {**reference, "state": "open"}, 204)
        assert (await info(airy, of.names[4]))["metadata"]["state"] == "open"
        await airy.call("conversations.remove-state", reference, 204)
        assert "state" not in (await info(airy, of.names[4]))["metadata"]
        assert (await info(airy, of.names[4]))["metadata"]["contact"]["display_name"].startswith("Instagram ")
        await airy.call("conversations.update-contact", {**reference, "display_name": "Ada"}, 204)
        assert (await info(airy, of.names[4]))["metadata"]["contact"]["display_name"] == "Ada"


async def test_unr_1_v19_a_message_is_unread_until_it_is_marked_as_read() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        assert (await info(airy, chat.conversation_id))["metadata"]["unread_count"] == 1
        await airy.call("conversations.mark-read", {"conversation_id": chat.conversation_id}, 204)
        found = await info(airy, chat.conversation_id)
        assert found["metadata"]["unread_count"] == 0
        assert isinstance(found["last_message"]["metadata"]["user_read"], int)
