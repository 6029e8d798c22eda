"""`messages.send` to a conversation that is not known, and to a recipient: M9, and the table of E33."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from airy import topics
from airy.actors import deferred_sends
from airy.actors.bug_report import BugCounts, BugKind
from airy.actors.deferred_sends import DeferredSends
from airy.actors.runtime import Context
from airy.bus.record import Position, ProducerRecord
from airy.http.response_schemas import MessageSchema
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.sources.catalogue import kind_of
from tests.kit.api import ApiHarness, api_harness
from tests.kit.builders import Chat, channel
from tests.kit.response_schemas import validated

HI = {"text": "Yes, three left."}


@asynccontextmanager
async def deferring(**settings: Any) -> AsyncIterator[ApiHarness]:
    """With the actor that ends the waits."""
    async with api_harness(**settings) as api, anyio.create_task_group() as tasks:
        await run(api, tasks)
        yield api
        tasks.cancel_scope.cancel()


async def run(api: ApiHarness, tasks: TaskGroup, bugs: BugCounts | None = None) -> None:
    actor = DeferredSends(api.bus, api.store, api.projector, message_ttl_s=900, bugs=bugs)
    tasks.start_soon(actor.run, Context("deferred-sends", clock=api.writer._clock, random=Random(0)))


async def state_of(api: ApiHarness, message_id: str) -> tuple[DeliveryState, str]:
    message = await api.store.message(message_id)
    assert message is not None
    return message.delivery, message.source


async def test_m9_a_message_to_an_unknown_conversation_is_sent_once_it_appears() -> None:
    chat = Chat()
    async with deferring() as api:
        await api.append(channel())
        answer = await api.post("/messages.send", {"conversation_id": chat.conversation_id, "message": HI})
        assert answer.status == 202
        waiting = validated(MessageSchema, answer.json())
        assert (waiting.content, waiting.source, waiting.delivery_state) == (HI, "", "pending")
        await api.call("/messages.list", {"conversation_id": chat.conversation_id}, status=404)
        await anyio.sleep(20)
        await api.append(chat.received("question"))
        await anyio.sleep(2)
        assert await state_of(api, waiting.id) == (DeliveryState.PENDING, "facebook")
        work = await api.store.work("send", "facebook", partitions=range(16), due_until_ms=2**62, work_max=9)
        assert [(each.message_id, each.channel_id) for each in work] == [(waiting.id, chat.channel_id)]
        listed = await api.call("/messages.list", {"conversation_id": chat.conversation_id})
        assert {each["source"] for each in listed["data"]} == {"facebook"}
        await anyio.sleep(60)
        assert (await state_of(api, waiting.id))[0] is DeliveryState.PENDING  # no wait is left to end


async def test_a_wait_ends_as_failed_and_says_why() -> None:
    async with deferring() as api:
        body = {"conversation_id": ids.derive("never"), "message": HI}
        sent = await api.call("/messages.send", body, status=202)
        await anyio.sleep(29)
        assert (await state_of(api, sent["id"]))[0] is DeliveryState.PENDING
        await anyio.sleep(3)
        assert (await state_of(api, sent["id"]))[0] is DeliveryState.FAILED
        message = await api.store.message(sent["id"])
        assert message is not None
        assert b"no such conversation" in bytes(message.metadata["error"])
        problem = await api.call("/messages.resend", {"message_id": sent["id"]}, status=409)
        assert "no such conversation" in problem["message"]


async def test_a_wait_survives_a_restart_of_the_actor() -> None:
    chat = Chat()
    async with api_harness() as api:
        await api.append(channel())
        sent = await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI}, status=202)
        await api.append(chat.received("question"))
        await anyio.sleep(100)  # nothing ran meanwhile: a conversation that exists is never too late
        async with anyio.create_task_group() as tasks:
            await run(api, tasks)
            await anyio.sleep(2)
            assert await state_of(api, sent["id"]) == (DeliveryState.PENDING, "facebook")
            tasks.cancel_scope.cancel()


async def test_one_wait_blocks_no_other_and_two_actors_end_it_once() -> None:
    chat = Chat()
    async with deferring() as api, anyio.create_task_group() as tasks:
        await run(api, tasks)
        await api.append(channel())
        for name in ("a", "b"):
            await api.call("/messages.send", {"conversation_id": ids.derive(name), "message": HI}, status=202)
        sent = await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI}, status=202)
        await api.append(chat.received("question"))
        await anyio.sleep(2)
        assert await state_of(api, sent["id"]) == (DeliveryState.PENDING, "facebook")
        counts = await api.store.counts()
        assert counts["send_pending"] == 3
        await anyio.sleep(40)
        assert (await api.store.counts())["send_pending"] == 1
        tasks.cancel_scope.cancel()


async def test_those_behind_a_long_backlog_are_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_sends, "PAGE_MAX", 2)
    chat = Chat()
    async with deferring() as api:
        await api.append(channel())
        for number in range(5):
            body = {"conversation_id": ids.derive(f"{number}"), "message": HI}
            await api.call("/messages.send", body, status=202)
        sent = await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI}, status=202)
        await api.append(chat.received("question"))
        await anyio.sleep(2)
        assert await state_of(api, sent["id"]) == (DeliveryState.PENDING, "facebook")


async def test_those_that_expire_together_fail_in_few_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_sends, "FAILURES_MAX", 2)
    async with deferring() as api:
        for number in range(5):
            body = {"conversation_id": ids.derive(f"{number}"), "message": HI}
            await api.call("/messages.send", body, status=202)
        publish, appends = api.bus.publish, list[int]()

        async def counted(records: Sequence[ProducerRecord]) -> Sequence[Position]:
            appends.append(len(records))
            return await publish(records)

        monkeypatch.setattr(api.bus, "publish", counted)
        await anyio.sleep(40)
        assert (await api.store.counts())["send_pending"] == 0
        assert sum(appends) == 5
        assert len(appends) <= 4  # the look at which some have expired already, and the one at which all have


async def test_those_of_one_conversation_follow_each_other_however_the_first_ends() -> None:
    chat = Chat()
    async with deferring() as api:
        await api.append(channel())
        body = {"conversation_id": chat.conversation_id, "message": HI}
        first, second = [await api.call("/messages.send", body, status=202) for _ in range(2)]
        await api.append(chat.received("question"))
        await anyio.sleep(2)
        assert (await state_of(api, first["id"]))[1] == "facebook"
        await anyio.sleep(60)
        await api.call("/messages.cancel", {"message_id": first["id"]})
        await anyio.sleep(2)
        assert await state_of(api, second["id"]) == (DeliveryState.PENDING, "facebook")


async def test_a_cancelled_one_is_sent_again_in_the_conversation_that_begins() -> None:
    chat = Chat()
    async with deferring() as api:
        await api.append(channel())
        body = {"conversation_id": chat.conversation_id, "message": HI}
        sent = await api.call("/messages.send", body, status=202)
        await api.call("/messages.cancel", {"message_id": sent["id"]})
        await api.append(chat.received("question"), chat.queued("x"))
        await api.call("/messages.resend", {"message_id": sent["id"]})
        await anyio.sleep(2)
        assert await state_of(api, sent["id"]) == (DeliveryState.PENDING, "facebook")


async def test_a_bug_with_one_waiting_message_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    chat, bugs = Chat(), Counter[BugKind]()
    async with api_harness() as api, anyio.create_task_group() as tasks:
        await api.append(channel())
        bad = await api.call("/messages.send", {"conversation_id": ids.derive("never"), "message": HI}, status=202)
        good = await api.call("/messages.send", {"conversation_id": chat.conversation_id, "message": HI}, status=202)
        read = api.store.message

        async def message(message_id: str) -> Message | None:
            if message_id == bad["id"]:
                raise ValueError("a value that no code expects")
            return await read(message_id)

        monkeypatch.setattr(api.store, "message", message)
        await run(api, tasks, bugs)
        await api.append(chat.received("question"))
        await anyio.sleep(20)
        assert await state_of(api, good["id"]) == (DeliveryState.PENDING, "facebook")
        assert bugs == {"send": 1}
        tasks.cancel_scope.cancel()


async def test_a_repeated_key_is_one_message_that_waits() -> None:
    async with deferring() as api:
        body = {"conversation_id": ids.derive("never"), "message": HI}
        first = await api.call("/messages.send", body, status=202, idempotency_key="k")
        assert await api.call("/messages.send", body, status=202, idempotency_key="k") == first
        other = {**body, "message": {"text": "another"}}
        await api.call("/messages.send", other, status=409, idempotency_key="k")
        cancelled = await api.call("/messages.cancel", {"message_id": first["id"]})
        assert cancelled["delivery_state"] == "failed"


async def test_subscribers_learn_of_it_when_it_begins_or_fails() -> None:
    chat = Chat()
    async with deferring() as api:
        await api.append(channel())
        sent = [
            await api.call("/messages.send", {"conversation_id": each, "message": HI}, status=202)
            for each in (chat.conversation_id, ids.derive("never"))
        ]
        await api.append(chat.received("question"))
        await anyio.sleep(40)
        found = []
        for tp in await api.bus.end_offsets([topics.EVENTS]):
            found += await api.store.changes(tp, after=(-1, -1), changes_max=100)
        kinds: dict[str, list[str]] = {}
        for each in sent:
            created = f'"message":{{"id":"{each["id"]}"'.encode()
            kinds[each["id"]] = [one.change.kind.value for one in found if created in one.change.body]
        assert kinds == {each["id"]: ["message.created"] for each in sent}


@pytest.mark.parametrize(
    ("kind", "given", "name"),
    [
        ("twilio.sms", " +49 (151) 123-45678 ", "+4915112345678"),
        ("twilio.sms", "32665", "32665"),
        ("twilio.whatsapp", "+49 151 12345678", "whatsapp:+4915112345678"),
        ("twilio.whatsapp", "whatsapp:DE.1A2B3C", "whatsapp:DE.1A2B3C"),
        ("whatsapp", "+49 151 12345678", "4915112345678"),
        ("whatsapp", "DE.9k2f0000000001", "DE.9k2f0000000001"),
        ("telegram", "-1001", "-1001"),
        ("viber", "u1Ab==", "u1Ab=="),
        ("rcs", "+49 (151) 123-45678", "+4915112345678"),
        ("facebook", "6120000000000001", "6120000000000001"),
        ("instagram", "17841400000000001", "17841400000000001"),
        ("a.custom.source", "customer 88", "customer 88"),
    ],
)
async def test_a_recipient_is_named_as_its_own_messages_name_it(kind: str, given: str, name: str) -> None:
    """TW-4."""
    async with api_harness() as api:
        await api.append(channel(kind, "an account"))
        channel_id = ids.channel_id(kind, "an account")
        sent = await api.call("/messages.send", {"channel_id": channel_id, "source_recipient_id": given, "message": HI})
        message = await api.store.message(sent["id"])
        assert message is not None
        owner = kind if kind_of(kind).open else channel_id  # custom sources have a rule of their own
        assert (message.recipient_id, message.conversation_id) == (name, ids.conversation_id(owner, name))


@pytest.mark.parametrize("name", ["DE.9k2f0000000001", "+49 15199999999", "4915100000000"])
async def test_a_recipient_by_any_name_is_answered_in_their_conversation_under_the_current_one(name: str) -> None:
    """By an alias, by the new number and by the former one, which the conversation's id derives from."""
    number = channel("whatsapp", "108811223344556")
    chat = Chat(source="whatsapp", source_channel_id="108811223344556")
    chat.participant_id = "4915100000000"
    chat.conversation_id = ids.conversation_id(chat.channel_id, chat.participant_id)
    async with api_harness() as api:
        await api.append(
            number,
            chat.received("a"),
            chat.identified("DE.9k2f0000000001", "4915199999999", participant_id="4915199999999"),
        )
        body = {"channel_id": number.id, "source_recipient_id": name, "message": HI}
        message = await api.store.message((await api.call("/messages.send", body))["id"])
        assert message is not None
        assert (message.conversation_id, message.recipient_id) == (chat.conversation_id, "4915199999999")


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("twilio.sms", "0151 12345678", "country code"),
        ("twilio.whatsapp", "whatsapp:0151", "country code"),
        ("viber", "Ines Kuhn", "who wrote or subscribed"),
        ("rcs", "0151 12345678", "country code"),
        ("google", "conv-55", "a contact begins the conversation"),
        ("telegram", "@ines", "number of a chat"),
        ("facebook", "Ines Kuhn", "number"),
        ("chatplugin", "a visitor", "visitor begins"),
    ],
)
async def test_a_recipient_that_the_source_cannot_have_is_a_400_that_says_why(
    kind: str, given: str, reason: str
) -> None:
    async with api_harness() as api:
        await api.append(channel(kind, "an account"))
        body = {"channel_id": ids.channel_id(kind, "an account"), "source_recipient_id": given, "message": HI}
        problem = await api.call("/messages.send", body, status=400)
        assert [each["field"] for each in problem["fields"]] == ["source_recipient_id"]
        assert reason in problem["message"]
