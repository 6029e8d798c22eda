"""The conformance scenarios of messages, metadata and media, by their ids; M9 and M12 have modules of their own."""

import pytest
from msgspec import Raw
from msgspec.structs import replace

from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import START_MS, Chat, channel, raw

ADDRESS = "https://cdn.example.net/v/t1/photo.jpg?oh=a&oe=b#top"
STORED = "https://inbox.example.net/media/51abb963-6078-5efb-b888-d8457a7c76f8.jpg?signature=x"


async def begun(api: ApiHarness, *names: object) -> Chat:
    chat = Chat()
    await api.append(channel(), *(chat.received(name, at_ms=START_MS + at) for at, name in enumerate(names)))
    return chat


async def listed(api: ApiHarness, chat: Chat) -> list[dict[str, object]]:
    page = await api.call("/messages.list", {"conversation_id": chat.conversation_id})
    return list(page["data"])


async def test_m1_ten_messages_are_listed_newest_first() -> None:
    async with api_harness() as api:
        chat = await begun(api, *range(10))
        assert [each["id"] for each in await listed(api, chat)] == [chat.inbound_id(name) for name in range(9, -1, -1)]


async def test_m2_a_deleted_message_is_one_fewer() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a", "b")
        await api.append(chat.deleted("a"))
        assert [each["id"] for each in await listed(api, chat)] == [chat.inbound_id("b")]


async def test_m3_metadata_of_a_message_is_listed() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a")
        body = {"subject": "message", "id": chat.inbound_id("a"), "data": {"order": "C-1"}}
        await api.call("/metadata.upsert", body, status=204)
        assert (await listed(api, chat))[0]["metadata"]["user_data"] == {"order": "C-1"}  # type: ignore[index]


@pytest.mark.parametrize("written", [ADDRESS, ADDRESS.replace("/", "\\/")], ids=["plain", "escaped"])
async def test_com_4_m4_the_address_of_a_stored_file_replaces_the_providers(written: str) -> None:
    """With query and fragment, wherever it is in the content and whatever else begins like it."""
    chat = Chat()
    content = f'{{"url":"{written}","text":"see {written}","thumbnail":"https://cdn.example.net/v"}}'
    message = replace(chat.received("a"), content=Raw(content.encode()))
    stored = chat.metadata({f"data_{ADDRESS}": STORED}, message_id=chat.inbound_id("a"))
    async with api_harness() as api:
        await api.append(channel(), message, stored)
        [shown] = await listed(api, chat)
    assert shown["content"] == {"url": STORED, "text": f"see {STORED}", "thumbnail": "https://cdn.example.net/v"}
    assert "data_" not in str(shown["metadata"])


async def test_m5_two_messages_of_one_time_whose_content_is_no_json_are_both_listed() -> None:
    chat = Chat()
    text = raw("From=%2B49&Body=Hallo")
    async with api_harness() as api:
        both = [replace(chat.received(name, at_ms=START_MS), content=text) for name in ("a", "b")]
        await api.append(channel(), *both)
        assert [each["content"] for each in await listed(api, chat)] == ["From=%2B49&Body=Hallo"] * 2


async def test_m6_suggested_replies_are_kept_under_the_camel_case_name_too() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a")
        body = {"message_id": chat.inbound_id("a"), "suggestions": {"ack": {"content": {"text": "On it!"}}}}
        answer = await api.call("/messages.suggestReplies", body)
        assert answer["metadata"]["suggestions"]["ack"]["content"] == {"text": "On it!"}


async def test_m7_a_message_to_a_known_conversation_is_stored_as_given() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a")
        body = {"conversation_id": chat.conversation_id, "message": {"text": "Yes", "quick_replies": []}}
        sent = await api.call("/messages.send", body)
        assert (sent["content"], sent["from_contact"]) == (body["message"], False)
        assert (await listed(api, chat))[0]["id"] == sent["id"]


async def test_m8_only_a_failed_message_is_sent_again() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a")
        await api.append(chat.queued("x"))
        reference = {"message_id": chat.outbound_id("x")}
        await api.call("/messages.resend", reference, status=409)
        await api.append(chat.started("x"), chat.failed("x"))
        await api.call("/messages.resend", reference, status=200)


async def test_m10_numbers_texts_and_arrays_are_metadata_below_user_data() -> None:
    async with api_harness() as api:
        chat = await begun(api, "a")
        data = {"order": 42, "note": "vip", "sizes": ["s", "m"]}
        body = {"subject": "message", "id": chat.inbound_id("a"), "data": data}
        await api.call("/metadata.upsert", body, status=204)
        assert (await listed(api, chat))[0]["metadata"]["user_data"] == data  # type: ignore[index]
