"""Messages and metadata as the original's own tests and clients expect them, over real HTTP."""

from typing import Any

import pytest
from msgspec.structs import replace

from airy.model import ids
from tests.kit.builders import PAGE, START_MS, Chat, channel, raw
from tests.kit.conformance import Installation, installation

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def listed(airy: Installation, chat: Chat, **more: object) -> Any:
    return (await airy.call("messages.list", {"conversation_id": chat.conversation_id, **more}))["data"]


async def test_com_1_com_2_m1_m2_messages_are_newest_first_and_a_deleted_one_is_gone() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), *(chat.received(nth) for nth in range(10)))
        names = [chat.inbound_id(nth) for nth in range(9, -1, -1)]
        assert [each["id"] for each in await listed(airy, chat)] == names
        await airy.api.append(chat.deleted(4))
        names.remove(chat.inbound_id(4))
        assert [each["id"] for each in await listed(airy, chat)] == names


async def test_com_3_com_11_m3_m10_metadata_of_a_message_is_shown_with_it() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        data = {"tree": {"text": "beech", "count": 42}, "list": ["a", "b"]}
        body = {"subject": "message", "id": chat.inbound_id("hello"), "data": data}
        assert (await airy.post("metadata.upsert", body)).body == b""
        await airy.call("metadata.upsert", body, 204)
        (message,) = await listed(airy, chat)
        assert message["metadata"]["user_data"] == data
        found = await airy.call("conversations.info", {"conversation_id": chat.conversation_id})
        assert found["last_message"]["metadata"]["user_data"]["tree"]["count"] == 42.0


async def test_com_5_m5_messages_of_one_time_are_both_kept_and_content_may_be_text() -> None:
    async with installation() as airy:
        chat = Chat()
        form = raw("Body=Hi&From=%2B49")
        first, second = (replace(chat.received(nth, at_ms=START_MS), content=form) for nth in (1, 2))
        await airy.api.append(channel(), first, second)
        messages = await listed(airy, chat)
        assert {each["id"] for each in messages} == {first.message_id, second.message_id}
        assert [each["content"] for each in messages] == ["Body=Hi&From=%2B49"] * 2


@pytest.mark.parametrize("path", ["messages.suggest-replies", "messages.suggestReplies"])
async def test_com_6_m6_suggested_replies_are_returned_below_the_ids_of_the_caller(path: str) -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        suggestions = {"ack": {"content": {"text": "On it!"}}, "no": {"content": {"text": "Sold out."}}}
        body = {"message_id": chat.inbound_id("hello"), "suggestions": suggestions}
        assert (await airy.call(path, body))["metadata"]["suggestions"] == suggestions
        assert (await listed(airy, chat))[0]["metadata"]["suggestions"] == suggestions


async def test_com_8_m7_m8_a_message_is_sent_and_resent_only_after_it_failed() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), chat.received("hello"))
        content = {"text": "Yes, three left.", "quick_replies": [{"title": "Fine"}]}
        sent = await airy.call("messages.send", {"conversation_id": chat.conversation_id, "message": content})
        assert (sent["content"], sent["delivery_state"], sent["from_contact"]) == (content, "pending", False)
        assert (await listed(airy, chat))[0]["content"] == content
        await airy.call("messages.resend", {"message_id": sent["id"]}, 409)

        await airy.api.append(chat.queued("ours"), chat.started("ours"), chat.failed("ours"))
        assert (await listed(airy, chat))[0]["delivery_state"] == "failed"
        resent = await airy.post("messages.resend", {"message_id": chat.outbound_id("ours")})
        assert (resent.status, resent.body) == (200, b"")
        assert (await listed(airy, chat))[0]["delivery_state"] == "pending"


async def test_com_9_a_message_may_be_sent_before_its_conversation_exists() -> None:
    """By its recipient, which begins it; or by its id, and then it waits."""
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel())
        content = {"text": "Hi"}
        unknown = {"conversation_id": Chat(1).conversation_id, "message": content}
        waiting = await airy.call("messages.send", unknown, 202)
        assert (waiting["content"], waiting["source"], waiting["delivery_state"]) == (content, "", "pending")
        recipient = {"channel_id": chat.channel_id, "source_recipient_id": chat.participant_id}
        sent = await airy.call("messages.send", {**recipient, "message": content})
        assert sent["source"] == "facebook"
        found = await airy.call("conversations.info", {"conversation_id": chat.conversation_id})
        assert (found["channel"]["id"], found["last_message"]["id"]) == (chat.channel_id, sent["id"])
        await airy.api.append(chat.received("answer"))
        assert [each["id"] for each in await listed(airy, chat)] == [chat.inbound_id("answer"), sent["id"]]


async def test_sending_to_a_channel_that_is_not_connected_is_a_403() -> None:
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(connected=False), chat.received("hello"))
        await airy.call("messages.send", {"conversation_id": chat.conversation_id, "message": {"text": "x"}}, 403)
        recipient = {"channel_id": ids.channel_id("facebook", PAGE), "source_recipient_id": "1"}
        await airy.call("messages.send", {**recipient, "message": {"text": "x"}}, 403)
        await airy.call("messages.send", {"message": {"text": "x"}}, 400)
