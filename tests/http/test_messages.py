"""`/messages.*`: what is accepted becomes exactly one message, whoever repeats what (G6, §6.2 of the
original).
"""

from typing import Any

import anyio
import msgspec
import pytest

from airy import topics
from airy.http import shapes
from airy.model import ids
from airy.model.delivery import Delivery
from airy.model.fact import MessageQueued
from tests.kit.builders import PAGE, Chat, channel
from tests.kit.edge import TOKEN, Desk, desk, token_of
from tests.kit.shapes import held

NOBODY = ids.derive("nobody")
HI = {"text": "Yes, three left."}


async def open_shop(edge: Desk) -> Chat:
    chat = Chat()
    await edge.happen(channel(), chat.received("question"))
    return chat


async def listed(edge: Desk, chat: Chat, **body: object) -> shapes.Page[shapes.Message]:
    document = await edge.asked("/messages.list", {"conversation_id": chat.conversation_id, **body})
    return held(shapes.Page[shapes.Message], document)


async def test_a_message_is_answered_as_stored_pending_and_readable_at_once() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        answer = await edge.post("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        assert answer.status == 200
        message = held(shapes.Message, answer.json())
        assert (message.content, message.delivery_state, message.from_contact) == (HI, "pending", False)
        assert (message.source, message.metadata) == ("facebook", {})
        assert message.sender == shapes.Sender("system-token-tests", None, None)
        assert (await listed(edge, chat)).data[0].id == message.id
        work = await edge.store.work("send", "facebook", partitions=range(16), due_until_ms=2**62, work_max=9)
        assert [job.message_id for job in work] == [message.id]
        assert token_of(answer).topic == topics.EVENTS.name


async def test_a_message_expires_if_nobody_sends_it_in_time() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        sent = await edge.asked("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        message = await edge.store.message(sent["id"])
        assert message is not None
        assert message.expires_at_ms is not None
        assert message.expires_at_ms - message.sent_at_ms == 900_000


async def test_a_channel_and_a_recipient_start_the_conversation_their_reply_would_start() -> None:
    async with desk() as edge:
        await edge.happen(channel())
        chat = Chat(7)
        body = {"channel_id": chat.channel_id, "source_recipient_id": chat.participant_id, "message": HI}
        sent = await edge.asked("/messages.send", body)
        await edge.happen(chat.received("reply"))
        page = await listed(edge, chat)
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
        ({"conversation_id": NOBODY, "message": HI}, 404, "conversation_id"),
        ({"channel_id": NOBODY, "source_recipient_id": "1", "message": HI}, 403, "channel_id"),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_names_why(body: dict[str, Any], status: int, field: str) -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        problem = await edge.asked("/messages.send", body, status=status)
        assert [fault["field"] for fault in problem["fields"]] == [field]
        assert len((await listed(edge, chat)).data) == 1


async def test_a_disconnected_channel_sends_nothing_and_says_so() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.happen(channel(connected=False))
        new = {"channel_id": chat.channel_id, "source_recipient_id": "1"}
        for where in ({"conversation_id": chat.conversation_id}, new):
            problem = await edge.asked("/messages.send", {**where, "message": HI}, status=403)
            assert "disconnected" in problem["message"]


@pytest.mark.parametrize("message", [{"text": "x"}, "just text", 42, True, [1, {"a": None}], {}])
async def test_any_json_is_a_message(message: object) -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        body = {"conversation_id": chat.conversation_id, "message": message}
        assert (await edge.asked("/messages.send", body))["content"] == message


# --- repetitions


async def test_the_same_key_is_one_message_however_often_and_wherever_it_stands() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        body = {"conversation_id": chat.conversation_id, "message": {"a": 1, "b": [True]}}
        first = await edge.asked("/messages.send", body, idempotency_key="k-1")
        again = [
            await edge.asked("/messages.send", body, idempotency_key="k-1"),
            await edge.asked("/messages.send", {**body, "idempotency_key": "k-1"}),
            await edge.asked("/messages.send", {**body, "id": "k-1"}),
            await edge.asked("/messages.send", {**body, "message": {"b": [True], "a": 1}, "idempotencyKey": "k-1"}),
        ]
        assert [message["id"] for message in again] == [first["id"]] * 4
        assert again[0] == first
        other = await edge.asked("/messages.send", body, idempotency_key="k-2")
        assert len((await listed(edge, chat)).data) == 3
        assert other["id"] != first["id"]


async def test_one_key_for_two_contents_is_a_conflict_and_the_first_stays() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        body = {"conversation_id": chat.conversation_id}
        first = await edge.asked("/messages.send", {**body, "message": {"n": 1}}, idempotency_key="k")
        for other in ({"n": True}, {"n": 2}, {"n": 1, "m": 1}):
            problem = await edge.asked("/messages.send", {**body, "message": other}, status=409, idempotency_key="k")
            assert problem["code"] == "conflict"
        assert (await listed(edge, chat)).data[0].content == {"n": 1}
        assert (await edge.asked("/messages.send", {**body, "message": {"n": 1}}, idempotency_key="k")) == first


async def test_a_race_under_one_key_is_decided_by_the_log() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        answers: list[tuple[int, str]] = []

        async def send(text: str) -> None:
            body = {"conversation_id": chat.conversation_id, "message": {"text": text}}
            answer = await edge.post("/messages.send", body, idempotency_key="race")
            answers.append((answer.status, text))

        async with anyio.create_task_group() as tasks:
            for text in ("a", "b", "a", "b"):
                tasks.start_soon(send, text)
        [winner] = {text for status, text in answers if status == 200}
        assert sorted(status for status, _ in answers) == [200, 200, 409, 409]
        newest = (await listed(edge, chat)).data[0]
        assert newest.content == {"text": winner}
        assert len((await listed(edge, chat)).data) == 2


@pytest.mark.parametrize("key", ["", "k" * 257])
async def test_a_key_has_a_sensible_length(key: str) -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        body = {"conversation_id": chat.conversation_id, "message": HI}
        problem = await edge.asked("/messages.send", body, status=400, idempotency_key=key)
        assert [fault["field"] for fault in problem["fields"]] == ["idempotency_key"]


async def test_two_different_keys_in_one_request_are_refused() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        body = {"conversation_id": chat.conversation_id, "message": HI, "idempotency_key": "a"}
        await edge.asked("/messages.send", body, status=400, idempotency_key="b")


# --- resending


async def test_only_a_failed_message_can_be_sent_again() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.happen(chat.queued("m"))
        reference = {"message_id": chat.outbound_id("m")}
        problem = await edge.asked("/messages.resend", reference, status=409)
        assert "pending" in problem["message"]
        await edge.happen(chat.started("m"), chat.failed("m"))
        answer = await edge.post("/messages.resend", reference)
        assert (answer.status, answer.body) == (200, b"")
        message = await edge.store.message(reference["message_id"])
        assert message is not None
        assert message.delivery is Delivery.PENDING
        await edge.asked("/messages.resend", reference, status=409)


async def test_of_two_who_resend_at_once_one_is_told_no() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.happen(chat.queued("m"), chat.started("m"), chat.failed("m"))
        statuses: list[int] = []

        async def resend() -> None:
            statuses.append((await edge.post("/messages.resend", {"message_id": chat.outbound_id("m")})).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resend)
            tasks.start_soon(resend)
        assert sorted(statuses) == [200, 409]


async def test_repeating_a_resend_under_its_key_is_the_same_resend() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.happen(chat.queued("m"), chat.started("m"), chat.failed("m"))
        for _ in range(2):
            await edge.asked("/messages.resend", {"message_id": chat.outbound_id("m")}, idempotency_key="again")


async def test_resending_what_is_not_there_or_not_ours() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.asked("/messages.resend", {"message_id": NOBODY}, status=404)
        await edge.asked("/messages.resend", {"message_id": chat.inbound_id("question")}, status=409)
        for body in ({}, {"message_id": None}, {"message_id": "x"}):
            problem = await edge.asked("/messages.resend", body, status=400)
            assert [fault["field"] for fault in problem["fields"]] == ["message_id"]


# --- listing


async def test_messages_are_newest_first_and_paged() -> None:
    async with desk() as edge:
        chat = Chat()
        await edge.happen(channel(), *(chat.received(number) for number in range(5)))
        names = [chat.inbound_id(number) for number in reversed(range(5))]
        first = await listed(edge, chat, page_size=2, cursor=None)
        assert [message.id for message in first.data] == names[:2]
        assert (first.pagination_data.previous_cursor, first.pagination_data.total) == (None, 5)
        rest = await listed(edge, chat, page_size=3, cursor=first.pagination_data.next_cursor)
        assert [message.id for message in rest.data] == names[2:]
        assert rest.pagination_data.next_cursor is None
        problem = await edge.asked(
            "/messages.list",
            {"conversation_id": chat.conversation_id, "cursor": "nonsense", "page_size": 2},
            status=400,
        )
        assert [fault["field"] for fault in problem["fields"]] == ["cursor"]


async def test_what_a_message_says_survives_as_it_was_written() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        written = b'{"conversation_id":"%s","message":{"Zz":[1.50,null],"a":{"\\u00e9":"\\ud83d\\ude00"}}}'
        answer = await edge.post("/messages.send", written % chat.conversation_id.encode())
        assert msgspec.json.decode(answer.body)["content"] == {"Zz": [1.5, None], "a": {"é": "😀"}}


async def test_no_part_of_the_token_reaches_the_log() -> None:
    async with desk() as edge:
        chat = await open_shop(edge)
        await edge.asked("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        [queued] = [
            fact
            for record in await edge.records(topics.EVENTS)
            if isinstance(fact := topics.EVENTS.decode(record), MessageQueued)
        ]
        assert TOKEN[:4] not in queued.sender_id
        assert queued.source == "facebook"
        assert queued.channel_id == ids.channel_id("facebook", PAGE)
        assert queued.cause
