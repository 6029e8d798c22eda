"""The connector against the simulated Messenger, in virtual time: calls made and facts recorded."""

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.connector import Connector
from airy.actors.fact_appender import FactAppender
from airy.actors.message_sender import CLAIM_VALID_MS, ORPHAN_MS, MessageSender, OutboundKind
from airy.actors.runtime import Context
from airy.actors.send_facts import started
from airy.actors.send_limits import SendLimiter
from airy.bus.record import Position, ProducerRecord
from airy.clock import monotonic_ms
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import CancelRequested, MessageQueued, MessageReceived
from airy.secret import Secret
from airy.sim.provider import SendFault
from airy.store.api import Work
from tests.kit.builders import raw
from tests.kit.harness import Harness


def connector(harness: Harness) -> Connector:
    return Connector(harness.bus, harness.store, harness.projector, [harness.source], harness.fetch, credentials)


def sender(harness: Harness, worker: str, **other: Any) -> MessageSender:
    ports = {"bus": harness.bus, "store": harness.store} | other
    appender = FactAppender(ports["bus"], harness.projector)
    return MessageSender(ports["store"], harness.projector, appender, harness.fetch, credentials, worker=worker)


def credentials(channel: Channel) -> dict[str, Secret]:
    return {"token": Secret(channel.token or "")}


def outbound(harness: Harness) -> OutboundKind:
    (kind,) = harness.source.spec.kinds
    return OutboundKind(kind, harness.source, SendLimiter(rate_per_s=100, parallel_max=10))


def context(harness: Harness, name: str) -> Context:
    return Context(name, clock=harness.clock, random=Random(0))


async def written(harness: Harness) -> tuple[str, str]:
    """A person wrote to the page: the ids of the person and of the conversation."""
    psid = harness.messenger.person()
    mid = harness.messenger.says(psid, "is the rye bread back?", harness.clock.now_ms())
    conversation_id = ids.conversation_id(harness.channel.id, psid)
    message_id = ids.message_id(harness.channel.id, mid)
    await harness.append(
        MessageReceived(
            id=message_id,
            message_id=message_id,
            conversation_id=conversation_id,
            channel_id=harness.channel.id,
            source="facebook",
            at_ms=harness.clock.now_ms(),
            participant_id=psid,
            content=raw({"message": {"mid": mid}}),
            provider_id=mid,
            window_until_ms=harness.clock.now_ms() + 86_400_000,
        )
    )
    return psid, conversation_id


def queued(harness: Harness, psid: str, text: str, *, ttl_ms: int = 3_600_000) -> MessageQueued:
    message_id = ids.derive("queued", text)
    return MessageQueued(
        id=ids.derive(message_id, ":queued"),
        message_id=message_id,
        channel_id=harness.channel.id,
        source="facebook",
        conversation_id=ids.conversation_id(harness.channel.id, psid),
        at_ms=harness.clock.now_ms(),
        sender_id="agent",
        content=raw({"text": text}),
        expires_at_ms=harness.clock.now_ms() + ttl_ms,
    )


async def test_a_queued_message_is_sent_once_and_carries_the_providers_id() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "yes, from Thursday on")
        await harness.append(fact)
        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT)

        (send,) = harness.messenger.journal.sends_of(fact.message_id)
        assert send.recipient_id == psid
        assert message.provider_id == send.mid


async def test_a_recorded_failure_is_retried_and_later_messages_of_the_conversation_wait() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        first, second = queued(harness, psid, "one"), queued(harness, psid, "two")
        harness.messenger.expect(SendFault.RATE_LIMITED, times=2, message_id=first.message_id)
        await harness.append(first, second)
        await harness.until(second.message_id, lambda message: message.delivery is DeliveryState.SENT)

        texts = [(send.text, send.outcome.value) for send in harness.messenger.journal.sends]
        assert texts == [("one", "refused"), ("one", "refused"), ("one", "accepted"), ("two", "accepted")]


def cancelled(harness: Harness, fact: MessageQueued) -> CancelRequested:
    return CancelRequested(
        id=ids.derive(fact.message_id, ":cancelled"),
        message_id=fact.message_id,
        channel_id=fact.channel_id,
        source=fact.source,
        conversation_id=fact.conversation_id,
        at_ms=harness.clock.now_ms(),
    )


async def test_a_waiting_message_that_is_cancelled_is_not_called_again_and_the_next_one_is_sent() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        first, second = queued(harness, psid, "one"), queued(harness, psid, "two")
        harness.messenger.expect(SendFault.RATE_LIMITED, times=1000, message_id=first.message_id)
        await harness.append(first, second)
        waiting = await harness.until(first.message_id, lambda message: message.retry_at_ms > 0)
        await harness.append(cancelled(harness, first))
        await harness.until(second.message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=90.0)
        await anyio.sleep(600)

        assert "source.next_attempt_at" in waiting.metadata
        assert len(harness.messenger.journal.sends_of(first.message_id)) == 1
        message = await harness.store.message(first.message_id)
        assert message is not None
        assert bytes(message.metadata["source.error_kind"]) == b'"cancelled"'


async def test_a_worker_whose_claim_comes_after_a_cancellation_does_not_call() -> None:
    """Its own store had not folded the cancellation at the decision."""
    harness = Harness()
    async with harness.open():
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "cancelled in the last moment")
        await harness.append(fact)
        seen = await harness.store.message(fact.message_id)
        assert seen is not None
        await harness.append(cancelled(harness, fact))
        await sender(harness, "late").attempt(context(harness, "late"), seen, harness.channel, outbound(harness))

        assert not harness.messenger.journal.sends_of(fact.message_id)
        message = await harness.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.attempt_count) == (DeliveryState.FAILED, 0)


async def test_a_cancellation_that_comes_after_a_claim_changes_nothing() -> None:
    harness = Harness()
    async with harness.open():
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "already on its way")
        await harness.append(fact)
        seen = await harness.store.message(fact.message_id)
        assert seen is not None
        await harness.append(started(seen, "the rival", harness.clock.now_ms()), cancelled(harness, fact))

        message = await harness.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.worker) == (DeliveryState.SENDING, "the rival")


async def test_other_conversations_do_not_wait_for_one_that_is_retried() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        (slow, _), (fast, _) = await written(harness), await written(harness)
        stuck, free = queued(harness, slow, "stuck"), queued(harness, fast, "free")
        harness.messenger.expect(SendFault.BUSY, times=6, message_id=stuck.message_id)
        await harness.append(stuck, free)
        await harness.until(free.message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=3.0)

        message = await harness.store.message(stuck.message_id)
        assert message is not None
        assert message.delivery in {DeliveryState.PENDING, DeliveryState.SENDING}


async def test_a_lost_answer_becomes_unknown_and_is_never_repeated() -> None:
    """X-3."""
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "did you get this?")
        harness.messenger.expect(SendFault.ACCEPTED_UNANSWERED, message_id=fact.message_id)
        await harness.append(fact)
        await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.UNKNOWN)
        await anyio.sleep(600)

        assert len(harness.messenger.journal.sends_of(fact.message_id)) == 1


async def test_an_attempt_whose_worker_is_gone_becomes_unknown_without_a_call() -> None:
    """X-3."""
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        psid, _ = await written(harness)
        fact = queued(harness, psid, "half sent")
        await harness.append(fact)
        message = await harness.store.message(fact.message_id)
        assert message is not None
        await harness.append(started(message, "dead worker", harness.clock.now_ms()))
        await harness.connect()
        before = anyio.current_time()
        await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.UNKNOWN)

        assert anyio.current_time() - before >= ORPHAN_MS / 1000 - 1
        assert not harness.messenger.journal.sends_of(fact.message_id)


async def test_two_connectors_of_one_group_never_call_twice() -> None:
    harness = Harness()
    async with harness.open(one=lambda: connector(harness), two=lambda: connector(harness)):
        await harness.connect()
        people = [(await written(harness))[0] for _ in range(12)]
        facts = [queued(harness, psid, f"to {psid}") for psid in people]
        await harness.append(*facts)
        for fact in facts:
            harness.bus.rebalance("sources.facebook.connector")
            await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT)

        assert [len(harness.messenger.journal.sends_of(fact.message_id)) for fact in facts] == [1] * 12


async def test_the_worker_whose_claim_comes_second_does_not_call() -> None:
    """The log holds another worker's claim of the same attempt; the own store had not folded it at the decision."""
    harness = Harness()
    async with harness.open():
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "two want to send this")
        await harness.append(fact)
        seen = await harness.store.message(fact.message_id)
        assert seen is not None
        await harness.append(started(seen, "the rival", harness.clock.now_ms()))
        second = sender(harness, "the second")
        await second.attempt(context(harness, "second"), seen, harness.channel, outbound(harness))

        assert not harness.messenger.journal.sends_of(fact.message_id)
        message = await harness.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.worker) == (DeliveryState.SENDING, "the rival")


async def test_a_message_not_sent_in_time_fails_as_expired() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "too late", ttl_ms=30_000)
        harness.messenger.expect(SendFault.UNREACHABLE, times=1000, message_id=fact.message_id)
        await harness.append(fact)
        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.FAILED)

        assert message.attempt >= 2
        assert all(send.outcome.value == "unreached" for send in harness.messenger.journal.sends)


async def test_a_disconnected_channel_fails_its_messages_with_a_reason() -> None:
    """X-5."""
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        await harness.connect(connected=False)
        fact = queued(harness, psid, "to a disconnected channel")
        await harness.append(fact)
        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.FAILED)

        assert b"disconnected" in bytes(message.metadata["error"])
        assert not harness.messenger.journal.sends


async def test_a_channel_that_nothing_tells_about_fails_its_messages_with_a_reason() -> None:
    """X-5."""
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        fact = replace(queued(harness, "6120000000000001", "to nowhere"), recipient_id="6120000000000001")
        await harness.append(fact)
        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.FAILED)

        assert bytes(message.metadata["error"]) == b'"its channel is unknown"'
        assert not harness.messenger.journal.sends


async def test_refused_credentials_pause_that_channel() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        (one, _), (two, _) = await written(harness), await written(harness)
        first, second = queued(harness, one, "first"), queued(harness, two, "second")
        harness.messenger.expect(SendFault.TOKEN_EXPIRED, message_id=first.message_id)
        await harness.append(first)
        await harness.until(first.message_id, lambda message: message.delivery is DeliveryState.FAILED)
        await harness.append(second)
        await anyio.sleep(30)
        waiting = await harness.store.message(second.message_id)
        await harness.until(second.message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=60)

        assert waiting is not None
        assert waiting.delivery is DeliveryState.PENDING


async def test_a_new_contact_gets_a_name_from_the_provider() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, conversation_id = await written(harness)
        with anyio.fail_after(60):
            while b"ok" not in bytes((await _metadata(harness, conversation_id)).get("contact.fetch_state", b"")):
                await harness.projector.wait_for_progress(harness.projector.version, 1.0)

        name = bytes((await _metadata(harness, conversation_id))["contact.display_name"])
        assert name.decode() == f'"{harness.messenger.state.people[psid].name}"'


async def test_recording_an_outcome_waits_for_an_unavailable_log() -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "patience")
        await harness.append(fact)
        harness.faults.script(
            "publish", "unavailable", after=1, times=5
        )  # the claim goes through, its outcome does not
        await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT)

        assert len(harness.messenger.journal.sends_of(fact.message_id)) == 1


async def _metadata(harness: Harness, conversation_id: str) -> dict[str, bytes]:
    view = await harness.store.conversation(conversation_id)
    return {key: bytes(text) for key, text in view.conversation.metadata.items()} if view else {}


async def test_a_worker_suspended_between_claim_and_call_records_a_failure_instead_of_calling() -> None:
    """Suspended while it held a claim that another worker may have settled: a failure is recorded, and retried."""
    harness = Harness()
    async with harness.open():
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "after a pause")
        await harness.append(fact)
        seen = await harness.store.message(fact.message_id)
        assert seen is not None
        publish = harness.bus.publish

        async def slow(records: Sequence[ProducerRecord]) -> Sequence[Position]:
            positions = await publish(records)
            await anyio.sleep(CLAIM_VALID_MS / 1000 + 1)
            return positions

        zombie = sender(harness, "the zombie", bus=SimpleNamespace(publish=slow))
        await zombie.attempt(context(harness, "zombie"), seen, harness.channel, outbound(harness))

        assert not harness.messenger.journal.sends_of(fact.message_id)
        message = await harness.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.attempt) == (DeliveryState.PENDING, 1)


async def test_the_age_of_a_foreign_attempt_is_measured_by_the_own_clock() -> None:
    """The clock of the machine that began it may be an hour behind; that alone does not make it an orphan."""
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        psid, _ = await written(harness)
        fact = queued(harness, psid, "by a slow clock", ttl_ms=7_200_000)
        await harness.append(fact)
        message = await harness.store.message(fact.message_id)
        assert message is not None
        await harness.append(started(message, "an hour behind", harness.clock.now_ms() - 3_600_000))
        await anyio.sleep(ORPHAN_MS / 1000 - 5)
        before = await harness.store.message(fact.message_id)
        await anyio.sleep(10)
        after = await harness.store.message(fact.message_id)

        assert before is not None
        assert after is not None
        assert (before.delivery, after.delivery) == (DeliveryState.SENDING, DeliveryState.UNKNOWN)


async def test_a_channel_connected_in_the_log_but_not_folded_yet_is_waited_for() -> None:
    """Topics have no common order: the message may be folded before the channel's record."""
    harness = Harness()
    async with harness.open():
        psid, _ = await written(harness)
        fact = queued(harness, psid, "right after connecting")
        await harness.append(fact)
        lagging = Lagging(harness)
        await harness.bus.publish([topics.CHANNELS.record(harness.channel.id, harness.channel)])
        work = Work("send", "facebook", 0, fact.conversation_id, fact.message_id, 0, "pending", harness.channel.id)
        await sender(harness, "one", store=lagging).send(context(harness, "one"), work, outbound(harness))
        message = await harness.store.message(fact.message_id)

        assert lagging.asked
        assert message is not None
        assert message.delivery is DeliveryState.SENT


class Lagging:
    """A store that returns no channel the first time."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._harness.store, name)

    async def channel(self, channel_id: str) -> Channel | None:
        self.asked += 1
        return None if self.asked == 1 else await self._harness.store.channel(channel_id)


HOUR_MS = 3_600_000


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
async def test_a_wall_clock_that_is_set_holds_back_neither_a_retry_nor_new_messages(step_ms: int) -> None:
    harness = Harness()
    async with harness.open(connector=lambda: connector(harness)):
        await harness.connect()
        psid, _ = await written(harness)
        first = queued(harness, psid, "one", ttl_ms=2 * HOUR_MS)
        harness.messenger.expect(SendFault.BUSY, times=1, message_id=first.message_id)
        await harness.append(first)
        await harness.until(first.message_id, lambda message: message.retry_at_ms > 0)
        harness.clock.set(step_ms)
        burst = [queued(harness, psid, f"more {number}", ttl_ms=2 * HOUR_MS) for number in range(50)]
        await harness.append(*burst)

        await harness.until(burst[-1].message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=60)


async def test_a_retry_that_was_planned_by_a_clock_an_hour_ahead_is_made_after_a_restart() -> None:
    harness = Harness()
    harness.clock.set(HOUR_MS)
    async with harness.open():
        await harness.connect()
        psid, _ = await written(harness)
        fact = queued(harness, psid, "one", ttl_ms=4 * HOUR_MS)
        await harness.append(fact)
        harness.messenger.expect(SendFault.BUSY, times=1, message_id=fact.message_id)
        (message,) = [await harness.store.message(fact.message_id)]
        assert message is not None
        await sender(harness, "before").attempt(context(harness, "before"), message, harness.channel, outbound(harness))
        harness.clock.set(0)
        async with anyio.create_task_group() as tasks:
            restarted = context(harness, "after")
            tasks.start_soon(connector(harness).run, restarted)

            await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=10)
            tasks.cancel_scope.cancel()


async def test_a_limited_channel_does_not_hide_the_others() -> None:
    """X-6. More conversations of one channel wait than one round reads, and the channel is paused."""
    harness = Harness()
    async with harness.open():
        await harness.connect()
        one = connector(harness)
        (membership,) = one._memberships
        limiter = membership.kinds["facebook"].limiter
        limiter.try_acquire(harness.channel.id, monotonic_ms())
        limiter.pause(harness.channel.id, monotonic_ms() + 60_000)
        asked: list[dict[str, object]] = []

        async def work(*_: object, **bounds: object) -> list[Work]:
            asked.append(bounds)
            return []

        one._store = SimpleNamespace(work=work)  # type: ignore[assignment]
        membership.readiness.assigned(topics.EVENTS.topic_partitions)
        async with anyio.create_task_group() as tasks:
            waits = [await one.dispatch(context(harness, "one"), tasks, key) for key in membership.work_keys]

        assert waits == [60.0, 60.0]
        assert len(asked) == 2
        assert all(list(bounds["excluded_channels"]) == [harness.channel.id] for bounds in asked)  # type: ignore[call-overload]
