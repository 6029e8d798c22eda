"""`/conversations.*` as clients of the original use them."""

import pytest

from airy.http import shapes
from airy.model import ids
from tests.kit.builders import PAGE, Chat, channel
from tests.kit.edge import Desk, desk
from tests.kit.shapes import held

NOBODY = ids.derive("nobody")
WRITES = {
    "/conversations.mark-read": {},
    "/conversations.tag": {"tag_id": NOBODY},
    "/conversations.untag": {"tag_id": NOBODY},
    "/conversations.set-state": {"state": "OPEN"},
    "/conversations.remove-state": {},
    "/conversations.update-contact": {"display_name": "Grace"},
    "/conversations.refetch": {},
}


async def open_shop(edge: Desk, contacts: int = 1) -> list[str]:
    """A channel and so many conversations, the last one the newest; their ids."""
    chats = [Chat(seed) for seed in range(contacts)]
    await edge.happen(channel())
    for number, chat in enumerate(chats):
        chat.now_ms += number * 60_000
        await edge.happen(chat.received("hello"))
    return [chat.conversation_id for chat in chats]


async def metadata(edge: Desk, conversation_id: str) -> dict[str, object]:
    found = await edge.asked("/conversations.info", {"conversation_id": conversation_id})
    return held(shapes.Conversation, found).metadata


async def test_the_list_needs_no_body_and_is_newest_first() -> None:
    async with desk() as edge:
        names = await open_shop(edge, 3)
        document = await edge.asked("/conversations.list")
        page = held(shapes.Page[shapes.Conversation], document)
        assert [conversation.id for conversation in page.data] == names[::-1]
        assert document["pagination_data"] == {"previous_cursor": None, "next_cursor": None, "total": 3}


async def test_pages_follow_their_cursors_forward_and_back() -> None:
    async with desk() as edge:
        names = (await open_shop(edge, 5))[::-1]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = held(
                shapes.Page[shapes.Conversation],
                await edge.asked("/conversations.list", {"page_size": 2, "cursor": cursor, "filters": None}),
            )
            seen += [conversation.id for conversation in page.data]
            cursor = page.pagination_data.next_cursor
        assert (seen, cursor) == (names, None)
        back = await edge.asked("/conversations.list", {"page_size": 2, "cursor": page.pagination_data.previous_cursor})
        assert [conversation["id"] for conversation in back["data"]] == names[2:4]


async def test_old_numeric_cursors_and_odd_page_sizes_are_understood() -> None:
    async with desk() as edge:
        names = (await open_shop(edge, 5))[::-1]
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
            page = await edge.asked("/conversations.list", body)
            assert [conversation["id"] for conversation in page["data"]] == expected, body
            assert page["pagination_data"]["total"] == 5


@pytest.mark.parametrize("body", [{"cursor": "nonsense"}, {"filters": "display_name:("}, {"page_size": "many"}])
async def test_a_bad_list_request_is_a_400_that_names_the_field(body: dict[str, object]) -> None:
    async with desk() as edge:
        problem = await edge.asked("/conversations.list", body, status=400)
        assert [fault["field"] for fault in problem["fields"]] == list(body)


async def test_filters_reach_the_store() -> None:
    async with desk() as edge:
        first, second = await open_shop(edge, 2)
        await edge.asked("/conversations.mark-read", {"conversation_id": first}, status=204)
        unread = await edge.asked("/conversations.list", {"filters": "unread_count:[1 TO *]"})
        assert [conversation["id"] for conversation in unread["data"]] == [second]


async def test_an_inbound_message_is_unread_until_it_is_marked_read() -> None:
    async with desk() as edge:
        [name] = await open_shop(edge)
        assert (await metadata(edge, name))["unread_count"] == 1
        for spelling in ("mark-read", "markRead"):
            answer = await edge.post(f"/conversations.{spelling}", {"conversation_id": name.upper()})
            assert (answer.status, answer.body) == (204, b"")
        assert (await metadata(edge, name))["unread_count"] == 0
        [message] = (await edge.asked("/messages.list", {"conversation_id": name}))["data"]
        assert "user_read" in message["metadata"]


async def test_tags_come_and_go_and_twice_is_once() -> None:
    async with desk() as edge:
        [name] = await open_shop(edge)
        tag = {"conversation_id": name, "tag_id": NOBODY}
        for _ in range(2):
            await edge.asked("/conversations.tag", tag, status=204)
            assert (await metadata(edge, name))["tags"] == {NOBODY: ""}
        for _ in range(2):
            await edge.asked("/conversations.untag", tag, status=204)
            assert "tags" not in await metadata(edge, name)


@pytest.mark.parametrize(("put", "drop"), [("set-state", "remove-state"), ("setState", "removeState")])
async def test_the_state_is_any_word_and_can_be_removed(put: str, drop: str) -> None:
    async with desk() as edge:
        [name] = await open_shop(edge)
        await edge.asked(f"/conversations.{put}", {"conversation_id": name, "state": "open"}, status=204)
        assert (await metadata(edge, name))["state"] == "open"
        await edge.asked(f"/conversations.{drop}", {"conversation_id": name}, status=204)
        assert "state" not in await metadata(edge, name)


@pytest.mark.parametrize("spelling", ["update-contact", "updateContact"])
async def test_a_contact_can_be_named(spelling: str) -> None:
    async with desk() as edge:
        [name] = await open_shop(edge)
        assert (await metadata(edge, name))["contact"] == {"display_name": f"Facebook {name[31:]}"}
        body = {"conversation_id": name, "display_name": "Grace"}
        await edge.asked(f"/conversations.{spelling}", body, status=204)
        assert (await metadata(edge, name))["contact"] == {"display_name": "Grace"}


async def test_refetching_a_profile_makes_work_again() -> None:
    async with desk() as edge:
        chat = Chat()
        await edge.happen(channel(), chat.received("hello"), chat.profile(found=False))

        async def due() -> int:
            return len(
                await edge.store.work("profile", "facebook", partitions=range(16), due_until_ms=2**62, work_max=9)
            )

        assert await due() == 0
        await edge.asked("/conversations.refetch", {"conversation_id": chat.conversation_id}, status=202)
        assert await due() == 1


async def test_nothing_can_be_done_to_a_conversation_nobody_knows() -> None:
    async with desk() as edge:
        for path, body in {**WRITES, "/conversations.info": {}, "/messages.list": {}}.items():
            problem = await edge.asked(path, {"conversation_id": NOBODY, **body}, status=404)
            assert problem["fields"] == [{"field": "conversation_id", "message": problem["message"]}]


async def test_missing_and_bad_fields_are_named() -> None:
    async with desk() as edge:
        for path, body in WRITES.items():
            needed = {"conversation_id", *body}
            for sent in ({}, None, dict.fromkeys(needed), b"{}"):
                problem = await edge.asked(path, sent, status=400)
                assert {fault["field"] for fault in problem["fields"]} == needed, path
            problem = await edge.asked(path, {**body, "conversation_id": "x"}, status=400)
            assert problem["fields"] == [{"field": "conversation_id", "message": "must be a UUID"}]


async def test_a_conversation_stays_visible_after_its_channel_is_disconnected() -> None:
    async with desk() as edge:
        [name] = await open_shop(edge)
        await edge.happen(channel(connected=False))
        found = await edge.asked("/conversations.info", {"conversation_id": name})
        assert found["channel"]["connected"] is False
        assert found["channel"]["source_channel_id"] == PAGE
