"""`/messages.*`: an accepted request creates exactly one message, however often it is repeated (G6)."""

from typing import Any

import anyio
import msgspec
import pytest

from airy import topics
from airy.http.response_schemas import MessageSchema, PageSchema, SenderSchema
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.fact import MessageQueued
from tests.kit.api import TOKEN, ApiHarness, api_harness, position_of
from tests.kit.builders import PAGE, Chat, channel
from tests.kit.response_schemas import validated

UNKNOWN_ID = ids.derive("unknown")
HI = {"text": "Yes, three left."}


async def append_conversation(api: ApiHarness) -> Chat:
    chat = Chat()
    await api.append(channel(), chat.received("question"))
    return chat


async def listed(api: ApiHarness, chat: Chat, **body: object) -> PageSchema[MessageSchema]:
    document = await api.call("/messages.list", {"conversation_id": chat.conversation_id, **body})
    return validated(PageSchema[MessageSchema], document)


async def test_a_sent_message_is_pending_and_readable_at_once() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        answer = await api.post("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        assert answer.status == 200
        message = validated(MessageSchema, answer.json())
        assert (message.content, message.delivery_state, message.from_contact) == (HI, "pending", False)
        assert (message.source, message.metadata) == ("facebook", {})
        assert message.sender == SenderSchema("system-token-tests", None, None)
        assert (await listed(api, chat)).data[0].id == message.id
        work = await api.store.work("send", "facebook", partitions=range(16), due_until_ms=2**62, work_max=9)
        assert [job.message_id for job in work] == [message.id]
        assert position_of(answer).topic == topics.EVENTS.name


async def test_a_message_has_an_expiry() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        sent = await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        message = await api.store.message(sent["id"])
        assert message is not None
        assert message.expires_at_ms is not None
        assert message.expires_at_ms - message.sent_at_ms == 900_000


async def test_a_channel_and_a_recipient_start_the_conversation_of_the_reply() -> None:
    async with api_harness() as api:
        await api.append(channel())
        chat = Chat(7)
        body = {"channel_id": chat.channel_id, "source_recipient_id": chat.participant_id, "message": HI}
        sent = await api.call("/messages.send", body)
        await api.append(chat.received("reply"))
        page = await listed(api, chat)
        assert {message.id for message in page.data} == {sent["id"], chat.inbound_id("reply")}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"message": HI}, 400, "conversation_id"),
        ({"message": HI, "channel_id": Chat().channel_id}, 400, "conversation_id"),
        ({"message": HI, "source_recipient_id": "1"}, 400, "conversation_id"),
        ({"conversation_id": Chat().conversation_id}, 400, "message"),
        ({"conversation_id": Chat().conversation_id, "message": None}, 400, "message"),
        ({"conversation_id": "x", "message": HI}, 400, "conversation_id"),
        ({"channel_id": UNKNOWN_ID, "source_recipient_id": "1", "message": HI}, 403, "channel_id"),
    ],
)
async def test_an_invalid_message_is_rejected_with_the_field(body: dict[str, Any], status: int, field: str) -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        problem = await api.call("/messages.send", body, status=status)
        assert [error["field"] for error in problem["fields"]] == [field]
        assert len((await listed(api, chat)).data) == 1


async def test_sending_to_a_disconnected_channel_is_a_403() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(channel(connected=False))
        new = {"channel_id": chat.channel_id, "source_recipient_id": "1"}
        for where in ({"conversation_id": chat.conversation_id}, new):
            problem = await api.call("/messages.send", {**where, "message": HI}, status=403)
            assert "disconnected" in problem["message"]


@pytest.mark.parametrize("message", [{"text": "x"}, "just text", 42, True, [1, {"a": None}], {}])
async def test_any_json_is_a_message(message: object) -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        body = {"conversation_id": chat.conversation_id, "message": message}
        assert (await api.call("/messages.send", body))["content"] == message


# --- repetitions


async def test_repetitions_under_one_key_are_one_message_wherever_the_key_is() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        body = {"conversation_id": chat.conversation_id, "message": {"a": 1, "b": [True]}}
        first = await api.call("/messages.send", body, idempotency_key="k-1")
        again = [
            await api.call("/messages.send", body, idempotency_key="k-1"),
            await api.call("/messages.send", {**body, "idempotency_key": "k-1"}),
            await api.call("/messages.send", {**body, "id": "k-1"}),
            await api.call("/messages.send", {**body, "message": {"b": [True], "a": 1}, "idempotencyKey": "k-1"}),
        ]
        assert [message["id"] for message in again] == [first["id"]] * 4
        assert again[0] == first
        other = await api.call("/messages.send", body, idempotency_key="k-2")
        assert len((await listed(api, chat)).data) == 3
        assert other["id"] != first["id"]


async def test_a_key_with_another_content_is_a_conflict() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        body = {"conversation_id": chat.conversation_id}
        first = await api.call("/messages.send", {**body, "message": {"n": 1}}, idempotency_key="k")
        for other in ({"n": True}, {"n": 2}, {"n": 1, "m": 1}):
            problem = await api.call("/messages.send", {**body, "message": other}, status=409, idempotency_key="k")
            assert problem["code"] == "conflict"
        assert (await listed(api, chat)).data[0].content == {"n": 1}
        assert (await api.call("/messages.send", {**body, "message": {"n": 1}}, idempotency_key="k")) == first


async def test_a_race_under_one_key_has_one_winner() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        answers: list[tuple[int, str]] = []

        async def send(text: str) -> None:
            body = {"conversation_id": chat.conversation_id, "message": {"text": text}}
            answer = await api.post("/messages.send", body, idempotency_key="race")
            answers.append((answer.status, text))

        async with anyio.create_task_group() as tasks:
            for text in ("a", "b", "a", "b"):
                tasks.start_soon(send, text)
        [winner] = {text for status, text in answers if status == 200}
        assert sorted(status for status, _ in answers) == [200, 200, 409, 409]
        newest = (await listed(api, chat)).data[0]
        assert newest.content == {"text": winner}
        assert len((await listed(api, chat)).data) == 2


@pytest.mark.parametrize("key", ["", "k" * 257])
async def test_an_empty_or_long_key_is_a_400(key: str) -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        body = {"conversation_id": chat.conversation_id, "message": HI}
        problem = await api.call("/messages.send", body, status=400, idempotency_key=key)
        assert [error["field"] for error in problem["fields"]] == ["idempotency_key"]


async def test_two_different_keys_in_one_request_are_a_400() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        body = {"conversation_id": chat.conversation_id, "message": HI, "idempotency_key": "a"}
        await api.call("/messages.send", body, status=400, idempotency_key="b")


# --- resending


async def test_only_a_failed_message_can_be_sent_again() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"))
        reference = {"message_id": chat.outbound_id("m")}
        problem = await api.call("/messages.resend", reference, status=409)
        assert "pending" in problem["message"]
        await api.append(chat.started("m"), chat.failed("m"))
        answer = await api.post("/messages.resend", reference)
        assert (answer.status, answer.body) == (200, b"")
        message = await api.store.message(reference["message_id"])
        assert message is not None
        assert message.delivery is DeliveryState.PENDING
        await api.call("/messages.resend", reference, status=409)


async def test_of_two_concurrent_resends_one_is_a_conflict() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"), chat.started("m"), chat.failed("m"))
        statuses: list[int] = []

        async def resend() -> None:
            statuses.append((await api.post("/messages.resend", {"message_id": chat.outbound_id("m")})).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resend)
            tasks.start_soon(resend)
        assert sorted(statuses) == [200, 409]


async def test_a_resend_is_idempotent_under_its_key() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"), chat.started("m"), chat.failed("m"))
        for _ in range(2):
            await api.call("/messages.resend", {"message_id": chat.outbound_id("m")}, idempotency_key="again")


async def test_only_outbound_messages_can_be_resent() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.call("/messages.resend", {"message_id": UNKNOWN_ID}, status=404)
        await api.call("/messages.resend", {"message_id": chat.inbound_id("question")}, status=409)
        for body in ({}, {"message_id": None}, {"message_id": "x"}):
            problem = await api.call("/messages.resend", body, status=400)
            assert [error["field"] for error in problem["fields"]] == ["message_id"]


async def test_one_message_is_as_in_the_list() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"))
        (listed_, *_) = (await listed(api, chat)).data

        shown = validated(MessageSchema, await api.call("/messages.info", {"message_id": listed_.id}))

        assert shown == listed_
        problem = await api.call("/messages.info", {"message_id": chat.conversation_id}, status=404)
        assert [error["field"] for error in problem["fields"]] == ["message_id"]


# --- waiting for another attempt, and cancelling


async def test_a_message_that_waits_for_another_attempt_says_why_and_until_when() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"), chat.started("m"), chat.failed("m", error="busy", retry_at_ms=9_000))
        (shown, _) = (await listed(api, chat)).data
        assert shown.delivery_state == "pending"
        assert shown.metadata == {
            "error": "busy",
            "source": {
                "attempts": 1,
                "error_code": "10",
                "error_kind": "provider",
                "next_attempt_at": "1970-01-01T00:00:09.000Z",
            },
        }
        problem = await api.call("/messages.resend", {"message_id": chat.outbound_id("m")}, status=409)
        assert "next attempt is due at 1970-01-01T00:00:09.000Z" in problem["message"]
        assert "messages.cancel" in problem["message"]


async def test_a_waiting_message_is_cancelled_and_can_be_sent_again() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        reference = {"message_id": chat.outbound_id("m")}
        await api.append(chat.queued("m"), chat.queued("next"))
        await api.append(chat.started("m"), chat.failed("m", error="busy", retry_at_ms=9_000))
        answer = await api.post("/messages.cancel", reference)
        message = validated(MessageSchema, answer.json())
        assert (message.id, message.delivery_state) == (reference["message_id"], "failed")
        assert message.metadata["error"] == "cancelled before it was sent; the last attempt failed: busy"
        assert message.metadata["source"]["error_kind"] == "cancelled"
        work = await api.store.work("send", "facebook", partitions=range(16), due_until_ms=0, work_max=9)
        assert [job.message_id for job in work] == [chat.outbound_id("next")]
        assert position_of(answer).topic == topics.EVENTS.name

        await api.call("/messages.resend", reference)
        (shown,) = [each for each in (await listed(api, chat)).data if each.id == reference["message_id"]]
        assert (shown.delivery_state, shown.metadata) == ("pending", {})


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("sending", "the message is being sent: the provider is called right now"),
        ("unknown", "the message may be delivered"),
        ("sent", "the message is delivered"),
        ("failed", "the message is failed"),
    ],
)
async def test_what_does_not_wait_is_not_cancelled_and_the_answer_says_why(outcome: str, said: str) -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"), chat.started("m"))
        ends = {"unknown": chat.unknown("m"), "sent": chat.succeeded("m", provider="p"), "failed": chat.failed("m")}
        if outcome in ends:
            await api.append(ends[outcome])
        problem = await api.call("/messages.cancel", {"message_id": chat.outbound_id("m")}, status=409)
        assert problem["message"].startswith(said)
        assert [error["field"] for error in problem["fields"]] == ["message_id"]


async def test_a_cancellation_is_idempotent_under_its_key() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.append(chat.queued("m"))
        for _ in range(2):
            await api.call("/messages.cancel", {"message_id": chat.outbound_id("m")}, idempotency_key="no")
        await api.call("/messages.cancel", {"message_id": chat.outbound_id("m")}, status=409)


async def test_only_outbound_messages_can_be_cancelled() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.call("/messages.cancel", {"message_id": UNKNOWN_ID}, status=404)
        problem = await api.call("/messages.cancel", {"message_id": chat.inbound_id("question")}, status=409)
        assert "the contact's" in problem["message"]


# --- listing


async def test_messages_are_newest_first_and_paged() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), *(chat.received(number) for number in range(5)))
        names = [chat.inbound_id(number) for number in reversed(range(5))]
        first = await listed(api, chat, page_size=2, cursor=None)
        assert [message.id for message in first.data] == names[:2]
        assert (first.pagination_data.previous_cursor, first.pagination_data.total) == (None, 5)
        rest = await listed(api, chat, page_size=3, cursor=first.pagination_data.next_cursor)
        assert [message.id for message in rest.data] == names[2:]
        assert rest.pagination_data.next_cursor is None
        for size in (2, 100):  # also where one page has all
            body = {"conversation_id": chat.conversation_id, "cursor": "nonsense", "page_size": size}
            problem = await api.call("/messages.list", body, status=400)
            assert [error["field"] for error in problem["fields"]] == ["cursor"]


async def test_the_content_of_a_message_is_returned_unchanged() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        written = b'{"conversation_id":"%s","message":{"Zz":[1.50,null],"a":{"\\u00e9":"\\ud83d\\ude00"}}}'
        answer = await api.post("/messages.send", written % chat.conversation_id.encode())
        assert msgspec.json.decode(answer.body)["content"] == {"Zz": [1.5, None], "a": {"é": "😀"}}


async def test_no_part_of_the_token_reaches_the_log() -> None:
    async with api_harness() as api:
        chat = await append_conversation(api)
        await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        [queued] = [
            fact
            for record in await api.records(topics.EVENTS)
            if isinstance(fact := topics.EVENTS.decode(record), MessageQueued)
        ]
        assert TOKEN[:4] not in queued.sender_id
        assert queued.source == "facebook"
        assert queued.channel_id == ids.channel_id("facebook", PAGE)
        assert queued.cause


async def test_a_message_in_common_terms_is_validated_and_shows_them() -> None:
    async with api_harness() as api:
        chat = (await append_conversation(api)).conversation_id
        content = {"canonical": {"type": "text", "text": "Yes, three left."}}
        sent = await api.call("/messages.send", {"conversation_id": chat, "message": content})
        assert (sent["content"], sent["canonical"]) == (content, [content["canonical"]])
        problem = await api.call(
            "/messages.send", {"conversation_id": chat, "message": {"canonical": {"type": "hologram"}}}, status=400
        )
        assert [error["field"] for error in problem["fields"]] == ["message.canonical.type"]


async def test_a_message_in_the_providers_terms_has_no_canonical_content() -> None:
    async with api_harness() as api:
        chat = (await append_conversation(api)).conversation_id
        sent = await api.call("/messages.send", {"conversation_id": chat, "message": {"text": "Yes."}})
        assert "canonical" not in sent


@pytest.mark.parametrize("spelling", ["suggest-replies", "suggestReplies"])
async def test_suggested_replies_are_kept_by_id(spelling: str) -> None:
    """M6, COM-6."""
    async with api_harness() as api:
        chat = await append_conversation(api)
        about = {"message_id": chat.inbound_id("question")}
        ack: dict[str, Any] = {"content": {"text": "On it!", "extra": {}, "a.b": [1, {}]}}
        suggested = await api.call(f"/messages.{spelling}", {**about, "suggestions": {"ack": ack}})
        assert validated(MessageSchema, suggested).metadata["suggestions"] == {"ack": ack}
        other = {"content": "No."}
        await api.call(f"/messages.{spelling}", {**about, "suggestions": {"ack": other, "late": ack}})
        (message,) = (await listed(api, chat)).data
        assert message.metadata["suggestions"] == {"ack": other, "late": ack}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"message_id": UNKNOWN_ID}, 400, "suggestions"),
        ({"message_id": UNKNOWN_ID, "suggestions": {}}, 400, "suggestions"),
        ({"message_id": UNKNOWN_ID, "suggestions": {"a": {}}}, 400, "suggestions[...].content"),
        ({"message_id": UNKNOWN_ID, "suggestions": {"a.b": {"content": 1}}}, 400, "suggestions"),
        ({"message_id": UNKNOWN_ID, "suggestions": {"a": {"content": 1}}}, 404, "message_id"),
        ({"suggestions": {"a": {"content": 1}}}, 400, "message_id"),
    ],
)
async def test_invalid_suggestions_are_rejected_with_the_field(
    body: dict[str, object], status: int, field: str
) -> None:
    async with api_harness() as api:
        problem = await api.call("/messages.suggest-replies", body, status=status)
        assert [error["field"] for error in problem["fields"]] == [field]
