"""`/contacts.*` as clients of the original Airy use them."""

from typing import Any

import anyio
import pytest

from airy import topics
from airy.http.response_schemas import (
    ContactSchema,
    ListSchema,
    MergedContactSchema,
    MessageSchema,
    PageSchema,
)
from airy.model import ids
from airy.model.contact import CONVERSATIONS_MAX, METADATA_BYTES_MAX
from tests.kit.api import ApiHarness, api_harness, position_of
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.response_schemas import validated

UNKNOWN_ID = ids.derive("unknown")
SOURCES = ("facebook", "twilio.sms", "telegram")
JANE: dict[str, Any] = {
    "display_name": "Jane",
    "avatar_url": "https://a.example/jane",
    "title": "Buyer",
    "gender": "f",
    "timezone": 2,
    "locale": "en_GB",
    "organization_name": "Acme",
    "via": {"phone": "+44 1", "e.mail": "jane@example.org"},
    "address": {"address_line1": "1 High Street", "city": "York", "state": "North Yorkshire"},
    "metadata": {"erp": [1, {"a": None}]},
}


async def created(api: ApiHarness, **fields: object) -> ContactSchema:
    return validated(ContactSchema, await api.call("/contacts.create", fields, status=201))


async def info(api: ApiHarness, contact_id: str) -> ContactSchema:
    return validated(ContactSchema, await api.call("/contacts.info", {"id": contact_id}))


async def of(api: ApiHarness, chat: Chat) -> ContactSchema:
    return validated(ContactSchema, await api.call("/contacts.info", {"conversation_id": chat.conversation_id}))


async def listed(api: ApiHarness, **body: object) -> PageSchema[ContactSchema]:
    return validated(PageSchema[ContactSchema], await api.call("/contacts.list", body))


async def test_a_conversation_has_a_contact_by_itself() -> None:
    """K1, CON-1."""
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        contact = await of(api, chat)
        assert contact.id == ids.derive("", chat.conversation_id)
        assert contact.display_name == f"Facebook {chat.conversation_id[31:]}"
        assert contact.conversations == {chat.conversation_id: "facebook"}
        assert (contact.updated_at, contact.version) == (None, 0)
        await api.append(chat.profile("Ines", "https://a.example/1"))
        contact = await info(api, contact.id)
        assert (contact.display_name, contact.avatar_url) == ("Ines", "https://a.example/1")
        renamed = {"conversation_id": chat.conversation_id, "display_name": "Mary"}
        await api.call("/conversations.update-contact", renamed, status=204)
        assert (await of(api, chat)).display_name == "Mary"
        assert await api.records(topics.CONTACTS) == []


async def test_a_created_contact_is_listed_and_found_by_id_and_by_conversation() -> None:
    """K3, K4, CON-2."""
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        answer = await api.post(
            "/contacts.create", {**JANE, "conversations": {chat.conversation_id.upper(): "facebook"}}
        )
        assert answer.status == 201
        assert position_of(answer).topic == topics.CONTACTS.name
        jane = validated(ContactSchema, answer.json())
        given = {name: value for name, value in JANE.items() if name != "address"}
        assert given.items() <= answer.json().items()
        assert (jane.address.city, jane.address.state, jane.address.country) == ("York", "North Yorkshire", None)
        assert (jane.created_at, jane.updated_at) == (jane.version, None)
        assert jane.created_at > START_MS
        anonymous = await created(api)
        assert (await listed(api)).data == [jane, anonymous]
        assert await info(api, jane.id.upper()) == await of(api, chat) == jane
        both = {"id": anonymous.id, "conversation_id": chat.conversation_id}
        assert (await api.call("/contacts.info", both))["id"] == anonymous.id


async def test_a_list_is_read_page_by_page() -> None:
    async with api_harness() as api:
        for name in ("b", "a", "C", None, "a"):
            await created(api, display_name=name)
        first = await listed(api, page_size=2)
        assert [contact.display_name for contact in first.data] == ["C", "a"]
        assert (first.pagination_data.total, first.pagination_data.previous_cursor) == (5, None)
        second = await listed(api, page_size=2, cursor=first.pagination_data.next_cursor)
        assert [contact.display_name for contact in second.data] == ["a", "b"]
        await api.call("/contacts.delete", {"id": second.data[0].id}, status=202)
        third = await listed(api, page_size=2, cursor=second.pagination_data.next_cursor)
        assert [contact.display_name for contact in third.data] == [None]
        assert third.pagination_data.next_cursor is None
        back = await listed(api, page_size=2, cursor=third.pagination_data.previous_cursor)
        assert [contact.display_name for contact in back.data] == ["a", "b"]
        assert (await listed(api, cursor=None, page_size=0)).pagination_data.total == 4


async def test_four_contacts_are_imported_in_one_record() -> None:
    """K2, CON-4."""
    async with api_harness() as api:
        items = [{"display_name": f"n{number}", "timezone": number} for number in range(4)]
        imported = await api.call("/contacts.import", items, status=201)
        found = validated(ListSchema[ContactSchema], imported).data
        assert [(contact.display_name, contact.timezone) for contact in found] == [(f"n{n}", n) for n in range(4)]
        assert (await listed(api)).data == found
        assert len(await api.records(topics.CONTACTS)) == 1


async def test_an_import_with_an_invalid_item_imports_none() -> None:
    async with api_harness() as api:
        chats = {Chat(number).conversation_id: "facebook" for number in range(CONVERSATIONS_MAX + 1)}
        problem = await api.call("/contacts.import", [{}, {"conversations": chats}], status=400)
        assert [error["field"] for error in problem["fields"]] == ["[1].conversations"]
        twice = {"conversations": {Chat(1).conversation_id: "facebook"}}
        await api.call("/contacts.import", [twice, twice], status=400)
        await api.call("/contacts.import", [{}, {"timezone": "x"}], status=400)
        assert (await listed(api)).data == []


async def test_an_update_sets_what_is_given_and_empty_text_removes() -> None:
    """K5, CON-3."""
    async with api_harness() as api:
        jane = await created(api, **JANE)
        change = {
            "id": jane.id,
            "timezone": -3,
            "gender": "",
            "title": None,
            "address": {"address_line1": "2 Low Street", "city": "", "state": "Kent", "unknown": "x"},
            "via": {"phone": None, "fax": "1"},
            "metadata": {"new": 1},
        }
        answer = await api.post("/contacts.update", change)
        assert (answer.status, answer.body) == (202, b"")
        changed = await info(api, jane.id)
        assert (changed.timezone, changed.gender, changed.title, changed.metadata) == (-3, None, "Buyer", {"new": 1})
        address = changed.address
        assert (address.address_line1, address.city, address.state) == ("2 Low Street", None, "Kent")
        assert changed.via == {"e.mail": "jane@example.org", "fax": "1"}
        assert changed.created_at == jane.created_at
        assert changed.updated_at == changed.version > jane.version


async def test_a_contact_that_appeared_by_itself_keeps_following_its_conversation_when_it_is_edited() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        contact = await of(api, chat)
        await api.call("/contacts.update", {"id": contact.id, "title": "Buyer"}, status=202)
        await api.append(chat.profile("Ines"))
        edited = await of(api, chat)
        assert (edited.id, edited.display_name, edited.title) == (contact.id, "Ines", "Buyer")
        assert edited.created_at == contact.created_at
        await api.call("/contacts.update", {"id": contact.id, "display_name": "Mine"}, status=202)
        await api.append(chat.refetch(), chat.profile("Other"))
        assert (await of(api, chat)).display_name == "Mine"


async def test_a_conversation_moves_to_the_contact_that_links_it_last() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        own, link = await of(api, chat), {chat.conversation_id: "facebook"}
        one, two = await created(api, conversations=link), await created(api)
        await api.call("/contacts.info", {"id": own.id}, status=404)
        await api.call("/contacts.update", {"id": two.id, "conversations": link}, status=202)
        assert (await of(api, chat)).id == two.id
        assert (await info(api, one.id)).conversations == {}
        await api.call("/contacts.update", {"id": two.id, "conversations": {chat.conversation_id: ""}}, status=202)
        assert (await of(api, chat)).id == own.id
        alone = {"id": own.id, "conversations": {chat.conversation_id: None}}
        problem = await api.call("/contacts.update", alone, status=400)
        assert [error["field"] for error in problem["fields"]] == ["conversations"]


async def test_a_merge_fills_the_gaps_of_the_destination() -> None:
    """K6, CON-5."""
    async with api_harness() as api:
        chats = Chat(1), Chat(2)
        await api.append(channel(), *(chat.received("hello") for chat in chats))
        source = {**JANE, "conversations": {chats[0].conversation_id: "facebook"}}
        destination = {
            "display_name": "J. Doe",
            "address": {"city": "Leeds"},
            "via": {"phone": "2"},
            "conversations": {chats[1].conversation_id: "facebook"},
        }
        imported = await api.call("/contacts.import", [source, destination], status=201)
        jane, doe = validated(ListSchema[ContactSchema], imported).data
        merging = {"source_id": jane.id, "destination_id": doe.id}
        merged = validated(MergedContactSchema, await api.call("/contacts.merge", merging))
        assert (merged.id, merged.display_name, merged.title, merged.timezone) == (doe.id, "J. Doe", "Buyer", 2)
        assert (merged.address.city, merged.address.state) == ("Leeds", "North Yorkshire")
        assert merged.via == {"phone": "2", "e.mail": "jane@example.org"}
        assert set(merged.conversations) == {chat.conversation_id for chat in chats}
        assert merged.created_at == doe.created_at
        assert [(each.id, each.avatar_url) for each in merged.merge_history] == [(jane.id, JANE["avatar_url"])]
        await api.call("/contacts.info", {"id": jane.id}, status=404)
        assert [(await of(api, chat)).id for chat in chats] == [doe.id, doe.id]
        third = await created(api, display_name="Third")
        again = await api.call("/contacts.merge", {"source_id": doe.id, "destination_id": third.id})
        assert [each["display_name"] for each in again["merge_history"]] == ["Jane", "J. Doe"]
        assert "merge_history" not in (await api.call("/contacts.info", {"id": third.id}))


async def test_contacts_that_appeared_by_themselves_are_merged() -> None:
    async with api_harness() as api:
        one, two = Chat(1), Chat(2)
        await api.append(channel(), one.received("hello"), two.received("hello"), two.profile("Ines"))
        into, other = await of(api, one), await of(api, two)
        merged = await api.call("/contacts.merge", {"source_id": other.id, "destination_id": into.id})
        assert (merged["id"], merged["display_name"]) == (into.id, "Ines")
        assert merged["merge_history"][0]["display_name"] == "Ines"
        assert [contact.id for contact in (await listed(api)).data] == [into.id]
        await api.append(two.received("more"))
        assert (await of(api, two)).id == into.id


async def test_a_contact_is_not_merged_with_itself_or_with_nothing() -> None:
    async with api_harness() as api:
        jane = await created(api, **JANE)
        await api.call("/contacts.merge", {"source_id": jane.id, "destination_id": jane.id}, status=400)
        for field, other in (("source_id", "destination_id"), ("destination_id", "source_id")):
            problem = await api.call("/contacts.merge", {field: UNKNOWN_ID, other: jane.id}, status=404)
            assert [error["field"] for error in problem["fields"]] == [field]
        assert (await listed(api)).data == [jane]


async def test_a_deleted_contact_comes_back_with_the_next_message_only() -> None:
    """K7, CON-6."""
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        contact = await of(api, chat)
        await api.call("/contacts.update", {"id": contact.id, "title": "Buyer"}, status=202)
        answer = await api.post("/contacts.delete", {"id": contact.id})
        assert (answer.status, answer.body) == (202, b"")
        for body in ({"id": contact.id}, {"conversation_id": chat.conversation_id}):
            await api.call("/contacts.info", body, status=404)
        assert (await listed(api)).data == []
        await api.append(chat.profile("Ines"))
        assert (await listed(api)).data == []
        await api.append(chat.received("again"))
        back = await of(api, chat)
        assert (back.id, back.display_name, back.title) == (contact.id, "Ines", None)


async def test_recent_messages_are_those_of_every_conversation_of_the_chosen_sources() -> None:
    """K8, CON-7."""
    async with api_harness() as api:
        chats = [Chat(number, source=source, source_channel_id="a") for number, source in enumerate(SOURCES)]
        await api.append(*(channel(source, "a") for source in SOURCES))
        await api.append(*(chat.received(f"m{number}") for chat in chats for number in range(2)))
        links = {chat.conversation_id: chat.source for chat in chats} | {UNKNOWN_ID: "facebook"}
        contact = await created(api, conversations=links)

        async def recent(**body: object) -> dict[str, PageSchema[MessageSchema] | None]:
            document = await api.call("/contacts.recent-messages", {"contact_id": contact.id, **body})
            return {
                name: None if page is None else validated(PageSchema[MessageSchema], page)
                for name, page in document.items()
            }

        first = await recent(include_sources=["facebook", "telegram"], page_size=1)
        assert set(first) == {chats[0].conversation_id, chats[2].conversation_id, UNKNOWN_ID}
        assert first[UNKNOWN_ID] is None
        page = first[chats[0].conversation_id]
        assert page is not None
        assert ([message.id for message in page.data], page.pagination_data.total) == ([chats[0].inbound_id("m1")], 2)
        assert (page.data[0].source, page.data[0].sender.id) == ("facebook", chats[0].participant_id)
        cursors = {chats[0].conversation_id: page.pagination_data.next_cursor, chats[2].conversation_id: None}
        second = await recent(include_sources=None, page_size=1, cursors=cursors)
        assert len(second) == 4
        pages = [second[chat.conversation_id] for chat in chats]
        found = [[message.id for message in page.data] for page in pages if page is not None]
        assert found == [[chats[0].inbound_id("m0")], [chats[1].inbound_id("m1")], [chats[2].inbound_id("m1")]]
        assert len(await recent(include_sources=[], cursors=None)) == 4
        wrong = {"contact_id": contact.id, "page_size": 1, "cursors": {chats[0].conversation_id: UNKNOWN_ID}}
        problem = await api.call("/contacts.recent-messages", wrong, status=400)
        assert [error["field"] for error in problem["fields"]] == [f"cursors.{chats[0].conversation_id}"]
        alone = await created(api)
        assert await api.call("/contacts.recent-messages", {"contact_id": alone.id}) == {}


async def test_creating_under_one_key_creates_once_and_shows_the_contact_as_it_is() -> None:
    async with api_harness() as api:
        body = {"display_name": "Jane", "via": {"a": "1", "b": "2"}}
        first = await api.call("/contacts.create", body, status=201, idempotency_key="k")
        assert await api.call("/contacts.create", body, status=201, idempotency_key="k") == first
        await api.call("/contacts.update", {"id": first["id"], "title": "Buyer"}, status=202)
        again = await api.post("/contacts.create", {**body, "via": {"b": "2", "a": "1"}}, idempotency_key="k")
        assert (again.status, again.json()["id"], again.json()["title"]) == (201, first["id"], "Buyer")
        assert position_of(again).topic == topics.CONTACTS.name
        await api.call("/contacts.create", {"display_name": "Other"}, status=409, idempotency_key="k")
        items = [{"display_name": "a"}, {"display_name": "b"}]
        imported = await api.call("/contacts.import", items, status=201, idempotency_key="i")
        assert await api.call("/contacts.import", items, status=201, idempotency_key="i") == imported
        assert len((await listed(api)).data) == 3


async def test_of_two_agents_that_edit_one_version_the_second_is_told() -> None:
    async with api_harness() as api:
        jane = await created(api, **JANE)
        seen = {"id": jane.id, "version": jane.version}
        await api.call("/contacts.update", {**seen, "title": "Seller"}, status=202)
        for path, body in (("/contacts.update", {**seen, "title": "Buyer"}), ("/contacts.delete", seen)):
            problem = await api.call(path, body, status=409)
            assert [error["field"] for error in problem["fields"]] == ["version"]
        now = await info(api, jane.id)
        assert now.title == "Seller"
        await api.call("/contacts.delete", {"id": jane.id, "version": now.version}, status=202)


async def test_concurrent_edits_of_different_fields_are_both_kept() -> None:
    async with api_harness() as api:
        jane = await created(api, display_name="Jane")
        edits = [{"id": jane.id, name: "x"} for name in ("title", "gender", "locale", "organization_name")]
        async with anyio.create_task_group() as tasks:
            for edit in edits:
                tasks.start_soon(lambda body: api.call("/contacts.update", body, status=202), edit)
        now = await info(api, jane.id)
        assert (now.title, now.gender, now.locale, now.organization_name) == ("x", "x", "x", "x")


async def test_of_two_merges_in_opposite_directions_one_wins_and_no_conversation_is_lost() -> None:
    async with api_harness() as api:
        chats = [Chat(number) for number in range(2)]
        await api.append(channel(), *(chat.received("hello") for chat in chats))
        one, two = [(await of(api, chat)).id for chat in chats]
        statuses: list[int] = []

        async def merge(source: str, destination: str) -> None:
            answer = await api.post("/contacts.merge", {"source_id": source, "destination_id": destination})
            statuses.append(answer.status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(merge, one, two)
            tasks.start_soon(merge, two, one)
        assert sorted(statuses) == [200, 404]
        (left,) = (await listed(api)).data
        assert set(left.conversations) == {chat.conversation_id for chat in chats}


async def test_contacts_that_take_one_conversation_at_once_never_both_have_it() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        link = {chat.conversation_id: "facebook"}
        takers = [(await created(api)).id for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for taker in takers:
                body = {"id": taker, "conversations": link}
                tasks.start_soon(lambda body: api.call("/contacts.update", body, status=202), body)
            tasks.start_soon(lambda: api.call("/contacts.create", {"conversations": link}, status=201))
        owners = [contact.id for contact in (await listed(api)).data if contact.conversations]
        assert owners == [(await of(api, chat)).id]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/contacts.create", {"timezone": "east"}, 400, "timezone"),
        ("/contacts.create", {"conversations": {"x": "facebook"}}, 400, "conversations"),
        ("/contacts.create", {"via": {"": "1"}}, 400, "via"),
        ("/contacts.create", {"via": {str(number): "1" for number in range(51)}}, 400, "via"),
        ("/contacts.create", {"metadata": "x" * METADATA_BYTES_MAX}, 400, "metadata"),
        ("/contacts.info", {}, 400, "id"),
        ("/contacts.info", {"id": "nothing"}, 404, "id"),
        ("/contacts.info", {"conversation_id": UNKNOWN_ID}, 404, "conversation_id"),
        ("/contacts.update", {"title": "x"}, 400, "id"),
        ("/contacts.update", {"id": UNKNOWN_ID}, 404, "id"),
        ("/contacts.merge", {}, 400, "source_id"),
        ("/contacts.delete", {"id": UNKNOWN_ID}, 404, "id"),
        ("/contacts.list", {"cursor": "x"}, 400, "cursor"),
        ("/contacts.recent-messages", {"contact_id": UNKNOWN_ID}, 404, "contact_id"),
    ],
)
async def test_invalid_requests_are_rejected_with_the_field(
    path: str, body: dict[str, object], status: int, field: str
) -> None:
    async with api_harness() as api:
        problem = await api.call(path, body, status=status)
        assert problem["fields"][0]["field"] == field


async def test_a_contact_needs_a_body() -> None:
    async with api_harness() as api:
        await api.call("/contacts.create", None, status=400)
        assert (await created(api)).display_name is None
