"""Unusual requests that clients can send: accepted as by the original, or refused with a reason; over real HTTP."""

import pytest

from tests.kit.api import TOKEN
from tests.kit.builders import Chat, channel
from tests.kit.conformance import OTHER, FiveConversations, installation

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def test_nulls_unknown_keys_upper_case_ids_and_empty_bodies_are_accepted() -> None:
    async with installation() as airy:
        of = FiveConversations()
        await of.write(airy)
        body = {"cursor": None, "filters": None, "page_size": None, "pageSizes": 3, "no_such_key": {}}
        assert len((await airy.call("conversations.list", body))["data"]) == 5
        assert (await airy.call("conversations.list", {"page_size": 0}))["pagination_data"]["total"] == 5
        upper = {"conversation_id": of.names[0].upper()}
        assert (await airy.call("conversations.info", upper))["id"] == of.names[0]
        for path in ("channels.list", "tags.list", "client.config", "webhooks.list", "users.list", "contacts.list"):
            await airy.call(path)
            assert (await airy.send("POST", f"/{path}/", headers={"Authorization": TOKEN})).status == 200


async def test_a_disconnected_channel_is_not_found_and_disconnecting_it_again_is_no_error() -> None:
    async with installation() as airy:
        chat = Chat(source="instagram", source_channel_id=OTHER)
        await airy.api.append(channel("instagram", OTHER), chat.received("hello"))
        reference = {"channel_id": chat.channel_id}
        for _ in range(2):
            await airy.call("channels.facebook.disconnect", reference, 204)
        await airy.call("channels.info", reference, 404)
        await airy.call("channels.update", {**reference, "name": "x"}, 404)
        assert (await airy.call("conversations.list"))["data"][0]["channel"]["connected"] is False


async def test_content_may_be_text_and_keys_of_metadata_may_have_dots() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        reference = {"conversation_id": chat.conversation_id}
        assert (await airy.call("messages.send", {**reference, "message": "bare text"}))["content"] == "bare text"
        many = {"text": "Which?", "quick_replies": [{"title": str(nth)} for nth in range(14)]}
        assert (await airy.call("messages.send", {**reference, "message": many}))["content"] == many
        await airy.call("messages.send", {**reference, "message": None}, 400)
        data = {"subject": "conversation", "id": chat.conversation_id, "data": {"crm.id": "1"}}
        await airy.call("metadata.upsert", data, 204)
        found = await airy.call("conversations.info", reference)
        assert found["metadata"]["user_data"] == {"crm": {"id": "1"}}


@pytest.mark.parametrize("name", ["a:b", "(sales) +49-30", 'the "Boss"', "C++ & co", "x OR y", "100% [sic]"])
async def test_names_with_operators_are_found_by_the_search_box(name: str) -> None:
    async with installation() as airy:
        of = FiveConversations()
        await of.write(airy)
        await airy.call("conversations.update-contact", {"conversation_id": of.names[1], "display_name": name}, 204)
        page = await airy.call("conversations.list", {"filters": f"display_name:*{name}*"})
        assert [each["id"] for each in page["data"]] == [of.names[1]]


async def test_either_id_finds_a_contact_and_an_update_without_events_keeps_them() -> None:
    async with installation() as airy:
        first, second = Chat(1), Chat(2)
        await airy.api.append(channel(), first.received("a"), second.received("b"))
        of_first = await airy.call("contacts.info", {"conversation_id": first.conversation_id})
        both = {"id": of_first["id"], "conversation_id": second.conversation_id}
        assert (await airy.call("contacts.info", both))["id"] == of_first["id"]
        hook = {"url": "https://crm.example.net/hook", "events": ["message.created"]}
        made = await airy.call("webhooks.subscribe", hook)
        assert (await airy.call("webhooks.update", {"id": made["id"], "name": "x"}))["events"] == hook["events"]
        assert (await airy.call("webhooks.update", {"id": made["id"], "events": None}))["events"] == hook["events"]


async def test_other_methods_and_media_types_are_refused() -> None:
    async with installation() as airy:
        for method in ("GET", "PUT", "DELETE"):
            answer = await airy.send(method, "/conversations.list", headers={"Authorization": TOKEN})
            assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"OPTIONS", "POST"})
        form = {"Authorization": TOKEN, "Content-Type": "application/x-www-form-urlencoded"}
        assert (await airy.send("POST", "/conversations.list", b"page_size=1", form)).status == 415
        assert (await airy.send("POST", "/Conversations.List", headers=form)).status == 404
