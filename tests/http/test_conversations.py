"""`/conversations.*` as clients of the original Airy use them."""

import pytest

from airy import topics
from airy.http.response_schemas import ConversationSchema, PageSchema
from airy.model import ids
from airy.model.entity import User
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import PAGE, Chat, channel
from tests.kit.response_schemas import validated

UNKNOWN_ID = ids.derive("unknown")
WRITES = {
    "/conversations.mark-read": {},
    "/conversations.typing": {},
    "/conversations.tag": {"tag_id": UNKNOWN_ID},
    "/conversations.untag": {"tag_id": UNKNOWN_ID},
    "/conversations.set-state": {"state": "OPEN"},
    "/conversations.remove-state": {},
    "/conversations.update-contact": {"display_name": "Grace"},
    "/conversations.refetch": {},
}


async def append_conversations(api: ApiHarness, contacts: int = 1) -> list[str]:
    """Append a channel and `contacts` conversations, the last one the newest; return their ids."""
    chats = [Chat(seed) for seed in range(contacts)]
    await api.append(channel())
    for number, chat in enumerate(chats):
        chat.now_ms += number * 60_000
        await api.append(chat.received("hello"))
    return [chat.conversation_id for chat in chats]


async def metadata(api: ApiHarness, conversation_id: str) -> dict[str, object]:
    found = await api.call("/conversations.info", {"conversation_id": conversation_id})
    return validated(ConversationSchema, found).metadata


async def test_the_list_needs_no_body_and_is_newest_first() -> None:
    async with api_harness() as api:
        names = await append_conversations(api, 3)
        document = await api.call("/conversations.list")
        page = validated(PageSchema[ConversationSchema], document)
        assert [conversation.id for conversation in page.data] == names[::-1]
        assert document["pagination_data"] == {"previous_cursor": None, "next_cursor": None, "total": 3}


async def test_pages_follow_their_cursors_forward_and_back() -> None:
    async with api_harness() as api:
        names = (await append_conversations(api, 5))[::-1]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = validated(
                PageSchema[ConversationSchema],
                await api.call("/conversations.list", {"page_size": 2, "cursor": cursor, "filters": None}),
            )
            seen += [conversation.id for conversation in page.data]
            cursor = page.pagination_data.next_cursor
        assert (seen, cursor) == (names, None)
        back = await api.call("/conversations.list", {"page_size": 2, "cursor": page.pagination_data.previous_cursor})
        assert [conversation["id"] for conversation in back["data"]] == names[2:4]


async def test_numeric_cursors_and_odd_page_sizes_are_accepted() -> None:
    async with api_harness() as api:
        names = (await append_conversations(api, 5))[::-1]
        for body, expected in (
            ({"cursor": 0, "page_size": 2}, names[:2]),
            ({"cursor": "3", "page_size": "2"}, names[3:]),
            ({"cursor": 50}, []),
            ({"page_size": None}, names),
            ({"page_size": -1}, names),
            ({"page_size": 0}, []),
            ({"page_size": 10_000, "filters": "source:facebook"}, names),
            ({"pageSize": 1, "cursor": ""}, names[:1]),
        ):
            page = await api.call("/conversations.list", body)
            assert [conversation["id"] for conversation in page["data"]] == expected, body
            assert page["pagination_data"]["total"] == 5


@pytest.mark.parametrize("body", [{"cursor": "nonsense"}, {"filters": "display_name:("}, {"page_size": "many"}])
async def test_a_bad_list_request_is_a_400_that_names_the_field(body: dict[str, object]) -> None:
    async with api_harness() as api:
        problem = await api.call("/conversations.list", body, status=400)
        assert [error["field"] for error in problem["fields"]] == list(body)


async def test_a_bad_filter_is_a_400_with_the_offset_of_the_problem() -> None:
    async with api_harness() as api:
        body = {"filters": "source:facebook && display_name:ada~"}
        problem = await api.call("/conversations.list", body, status=400)
        [error] = problem["fields"]
        assert (error["field"], error["offset"]) == ("filters", 32)
        assert "fuzzy matching (~) is not supported in filters, at offset 32: 'ada~'" in error["message"]


async def test_messages_are_found_by_their_words() -> None:
    async with api_harness() as api:
        names = await append_conversations(api, 2)
        page = await api.call("/conversations.list", {"filters": 'message:"rye BREAD"'})
        assert sorted(conversation["id"] for conversation in page["data"]) == sorted(names)
        assert page["pagination_data"]["total"] == 2
        assert (await api.call("/conversations.list", {"filters": "message:croissant"}))["data"] == []


async def test_filters_reach_the_store() -> None:
    async with api_harness() as api:
        first, second = await append_conversations(api, 2)
        await api.call("/conversations.mark-read", {"conversation_id": first}, status=204)
        unread = await api.call("/conversations.list", {"filters": "unread_count:[1 TO *]"})
        assert [conversation["id"] for conversation in unread["data"]] == [second]


async def test_an_inbound_message_is_unread_until_it_is_marked_read() -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        assert (await metadata(api, name))["unread_count"] == 1
        for spelling in ("mark-read", "markRead"):
            answer = await api.post(f"/conversations.{spelling}", {"conversation_id": name.upper()})
            assert (answer.status, answer.body) == (204, b"")
        assert (await metadata(api, name))["unread_count"] == 0
        [message] = (await api.call("/messages.list", {"conversation_id": name}))["data"]
        assert "user_read" in message["metadata"]


async def test_tagging_and_untagging_are_idempotent() -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        tag = {"conversation_id": name, "tag_id": UNKNOWN_ID}
        for _ in range(2):
            await api.call("/conversations.tag", tag, status=204)
            assert (await metadata(api, name))["tags"] == {UNKNOWN_ID: ""}
        for _ in range(2):
            await api.call("/conversations.untag", tag, status=204)
            assert "tags" not in await metadata(api, name)


async def test_the_sender_of_a_message_has_the_name_of_the_user() -> None:
    """COM-12."""
    async with api_harness() as api:
        chat, jo = Chat(), "google:jo"
        await api.append(channel(), chat.received("hello"), chat.queued("ours", sender_id=jo))
        user = User(id=jo, name="Jo", avatar_url="https://a.example/jo")
        await api.writer.append_entity(topics.USERS, jo, user, base=0, write_id="w")
        about = {"conversation_id": chat.conversation_id}
        sender = {"id": jo, "name": "Jo", "avatar_url": "https://a.example/jo"}
        conversation = await api.call("/conversations.info", about)
        assert conversation["last_message"]["sender"] == sender
        assert conversation["channel"]["metadata"]["name"] == "Corner Bakery"
        assert (await api.call("/conversations.list"))["data"] == [conversation]
        ours, theirs = (await api.call("/messages.list", about))["data"]
        assert (ours["sender"], theirs["sender"]["name"]) == (sender, None)
        contact = await api.call("/contacts.info", about)
        recent = await api.call("/contacts.recent-messages", {"contact_id": contact["id"]})
        assert recent[chat.conversation_id]["data"] == [ours, theirs]


@pytest.mark.parametrize(("put", "drop"), [("set-state", "remove-state"), ("setState", "removeState")])
async def test_the_state_is_any_text_and_can_be_removed(put: str, drop: str) -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        await api.call(f"/conversations.{put}", {"conversation_id": name, "state": "open"}, status=204)
        assert (await metadata(api, name))["state"] == "open"
        await api.call(f"/conversations.{drop}", {"conversation_id": name}, status=204)
        assert "state" not in await metadata(api, name)


async def test_of_two_agents_that_change_one_state_the_second_is_told() -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        about = {"conversation_id": name}
        seen = (await api.call("/conversations.info", about))["state_version"]
        closed = {**about, "state": "CLOSED", "version": seen}
        await api.call("/conversations.set-state", closed, status=204)
        await api.call("/conversations.set-state", closed, status=204)
        for verb, body in (("set-state", {"state": "OPEN", "version": seen}), ("remove-state", {"version": seen})):
            problem = await api.call(f"/conversations.{verb}", {**about, **body}, status=409)
            assert [error["field"] for error in problem["fields"]] == ["version"]
        now = await api.call("/conversations.info", about)
        assert now["metadata"]["state"] == "CLOSED"
        await api.call("/conversations.remove-state", {**about, "version": now["state_version"]}, status=204)
        await api.call("/conversations.set-state", {**about, "state": "OPEN"}, status=204)


@pytest.mark.parametrize("spelling", ["update-contact", "updateContact"])
async def test_a_contact_can_be_named(spelling: str) -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        assert (await metadata(api, name))["contact"] == {"display_name": f"Facebook {name[31:]}"}
        body = {"conversation_id": name, "display_name": "Grace"}
        await api.call(f"/conversations.{spelling}", body, status=204)
        assert (await metadata(api, name))["contact"] == {"display_name": "Grace"}


async def test_refetching_a_profile_creates_work_again() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"), chat.profile(found=False))

        async def due() -> int:
            return len(
                await api.store.work("profile", "facebook", partitions=range(16), due_until_ms=2**62, work_max=9)
            )

        assert await due() == 0
        await api.call("/conversations.refetch", {"conversation_id": chat.conversation_id}, status=202)
        assert await due() == 1


async def test_an_unknown_conversation_is_a_404() -> None:
    async with api_harness() as api:
        for path, body in {**WRITES, "/conversations.info": {}, "/messages.list": {}}.items():
            problem = await api.call(path, {"conversation_id": UNKNOWN_ID, **body}, status=404)
            assert problem["fields"] == [{"field": "conversation_id", "message": problem["message"]}]


async def test_missing_and_invalid_fields_are_named() -> None:
    async with api_harness() as api:
        for path, body in WRITES.items():
            needed = {"conversation_id", *body}
            for sent in ({}, None, dict.fromkeys(needed), b"{}"):
                problem = await api.call(path, sent, status=400)
                assert {error["field"] for error in problem["fields"]} == needed, path
            problem = await api.call(path, {**body, "conversation_id": "x"}, status=400)
            assert problem["fields"] == [{"field": "conversation_id", "message": "must be a UUID"}]


async def test_a_conversation_stays_visible_after_its_channel_is_disconnected() -> None:
    async with api_harness() as api:
        [name] = await append_conversations(api)
        await api.append(channel(connected=False))
        found = await api.call("/conversations.info", {"conversation_id": name})
        assert found["channel"]["connected"] is False
        assert found["channel"]["source_channel_id"] == PAGE


@pytest.mark.parametrize("blank", ["", "  ", "\n", None])
async def test_blank_optional_fields_of_a_search_count_as_absent(blank: str | None) -> None:
    """An empty search box sends empty text."""
    async with api_harness() as api:
        (conversation_id,) = await append_conversations(api)
        everything = await api.call("/conversations.list")
        blanks = {"filters": blank, "cursor": blank, "page_size": blank, "position": blank}

        assert await api.call("/conversations.list", blanks) == everything
        found = await api.call("/messages.list", {"conversation_id": conversation_id, **blanks})
        assert len(found["data"]) == 1
        assert await api.call("/channels.list", {"source": blank}) == await api.call("/channels.list")
        for path, body in {
            "/templates.list": {"source": "facebook", "name": blank},
            "/webhooks.dead-letters": {"id": blank, "cursor": blank},
            "/dead-letters.list": {"topic": blank, "cursor": blank, "state": blank},
        }.items():
            assert (await api.call(path, body))["data"] == []
