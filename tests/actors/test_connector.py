"""The connector against the simulated Messenger, in virtual time: who is called, how often, and what is recorded."""

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace

import anyio

from airy import topics
from airy.actors.connector import CLAIM_MS, ORPHAN_MS, Connector
from airy.actors.runtime import Context
from airy.actors.sending import started
from airy.bus.record import Emit, Position
from airy.model import ids
from airy.model.delivery import Delivery
from airy.model.entity import Channel
from airy.model.fact import MessageQueued, MessageReceived
from airy.sim.messenger.options import Fault
from airy.store.api import Work
from tests.kit.builders import raw
from tests.kit.house import House


def connector(house: House) -> Connector:
    return Connector(
        house.bus, house.store, house.follower, house.source, house.fetch, unseal=lambda channel: channel.token or ""
    )


async def written(house: House) -> tuple[str, str]:
    """Somebody wrote to the page: their id and the conversation's."""
    psid = house.messenger.person()
    mid = house.messenger.says(psid, "is the rye bread back?", house.clock.now_ms())
    conversation_id = ids.conversation_id(house.channel.id, psid)
    message_id = ids.message_id(house.channel.id, mid)
    await house.tell(
        MessageReceived(
            id=message_id,
            message_id=message_id,
            conversation_id=conversation_id,
            channel_id=house.channel.id,
            source="facebook",
            at_ms=house.clock.now_ms(),
            participant_id=psid,
            content=raw({"message": {"mid": mid}}),
            provider_id=mid,
            window_until_ms=house.clock.now_ms() + 86_400_000,
        )
    )
    return psid, conversation_id


def queued(house: House, psid: str, text: str, *, ttl_ms: int = 3_600_000) -> MessageQueued:
    message_id = ids.derive("queued", text)
    return MessageQueued(
        id=ids.derive(message_id, ":queued"),
        message_id=message_id,
        channel_id=house.channel.id,
        source="facebook",
        conversation_id=ids.conversation_id(house.channel.id, psid),
        at_ms=house.clock.now_ms(),
        sender_id="agent",
        content=raw({"text": text}),
        expires_at_ms=house.clock.now_ms() + ttl_ms,
    )


async def test_a_queued_message_is_sent_once_and_carries_the_providers_id() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "yes, from Thursday on")
        await house.tell(fact)
        message = await house.until(fact.message_id, lambda message: message.delivery is Delivery.SENT)

        (sending,) = house.messenger.journal.sendings_of(fact.message_id)
        assert sending.recipient_id == psid
        assert message.provider_id == sending.mid


async def test_a_recorded_failure_is_tried_again_and_later_messages_of_the_conversation_wait() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        first, second = queued(house, psid, "one"), queued(house, psid, "two")
        house.messenger.expect(Fault.RATE_LIMITED, times=2, message_id=first.message_id)
        await house.tell(first, second)
        await house.until(second.message_id, lambda message: message.delivery is Delivery.SENT)

        texts = [(sending.text, sending.verdict.value) for sending in house.messenger.journal.sendings]
        assert texts == [("one", "refused"), ("one", "refused"), ("one", "taken"), ("two", "taken")]


async def test_other_conversations_do_not_wait_for_one_that_is_retried() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        (slow, _), (fast, _) = await written(house), await written(house)
        stuck, free = queued(house, slow, "stuck"), queued(house, fast, "free")
        house.messenger.expect(Fault.BUSY, times=6, message_id=stuck.message_id)
        await house.tell(stuck, free)
        await house.until(free.message_id, lambda message: message.delivery is Delivery.SENT, within_s=3.0)

        message = await house.store.message(stuck.message_id)
        assert message is not None
        assert message.delivery in {Delivery.PENDING, Delivery.SENDING}


async def test_a_lost_answer_becomes_unknown_and_is_never_repeated() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "did you get this?")
        house.messenger.expect(Fault.TAKEN_SILENT, message_id=fact.message_id)
        await house.tell(fact)
        await house.until(fact.message_id, lambda message: message.delivery is Delivery.UNKNOWN)
        await anyio.sleep(600)

        assert len(house.messenger.journal.sendings_of(fact.message_id)) == 1


async def test_an_attempt_whose_worker_is_gone_becomes_unknown_without_a_call() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        psid, _ = await written(house)
        fact = queued(house, psid, "half sent")
        await house.tell(fact)
        message = await house.store.message(fact.message_id)
        assert message is not None
        await house.tell(started(message, "somebody who died", house.clock.now_ms()))
        await house.connect()
        before = anyio.current_time()
        await house.until(fact.message_id, lambda message: message.delivery is Delivery.UNKNOWN)

        assert anyio.current_time() - before >= ORPHAN_MS / 1000 - 1
        assert not house.messenger.journal.sendings_of(fact.message_id)


async def test_two_connectors_of_one_group_never_call_twice() -> None:
    house = House()
    async with house.open(one=lambda: connector(house), two=lambda: connector(house)):
        await house.connect()
        people = [(await written(house))[0] for _ in range(12)]
        facts = [queued(house, psid, f"to {psid}") for psid in people]
        await house.tell(*facts)
        for fact in facts:
            house.bus.rebalance("sources.facebook.connector")
            await house.until(fact.message_id, lambda message: message.delivery is Delivery.SENT)

        assert [len(house.messenger.journal.sendings_of(fact.message_id)) for fact in facts] == [1] * 12


async def test_who_claimed_second_does_not_call() -> None:
    """The log had a rival's claim of the same attempt first; our store did not show it yet when we decided."""
    house = House()
    async with house.open():
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "two want to send this")
        await house.tell(fact)
        seen = await house.store.message(fact.message_id)
        assert seen is not None
        await house.tell(started(seen, "the rival", house.clock.now_ms()))
        second = connector(house)
        second._worker = "the second"
        await second._attempt(Context("second", clock=house.clock, random=Random(0)), seen, house.channel)

        assert not house.messenger.journal.sendings_of(fact.message_id)
        message = await house.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.worker) == (Delivery.SENDING, "the rival")


async def test_a_message_nobody_could_send_in_time_fails_as_expired() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "too late", ttl_ms=30_000)
        house.messenger.expect(Fault.UNREACHABLE, times=1000, message_id=fact.message_id)
        await house.tell(fact)
        message = await house.until(fact.message_id, lambda message: message.delivery is Delivery.FAILED)

        assert message.attempt >= 2
        assert all(sending.verdict.value == "unreached" for sending in house.messenger.journal.sendings)


async def test_a_disconnected_channel_fails_its_messages_with_a_reason() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        await house.connect(connected=False)
        fact = queued(house, psid, "nobody home")
        await house.tell(fact)
        message = await house.until(fact.message_id, lambda message: message.delivery is Delivery.FAILED)

        assert b"disconnected" in bytes(message.metadata["error"])
        assert not house.messenger.journal.sendings


async def test_refused_credentials_stop_the_lane_of_that_channel_for_a_while() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        (one, _), (two, _) = await written(house), await written(house)
        first, second = queued(house, one, "first"), queued(house, two, "second")
        house.messenger.expect(Fault.TOKEN_EXPIRED, message_id=first.message_id)
        await house.tell(first)
        await house.until(first.message_id, lambda message: message.delivery is Delivery.FAILED)
        await house.tell(second)
        await anyio.sleep(30)
        waiting = await house.store.message(second.message_id)
        await house.until(second.message_id, lambda message: message.delivery is Delivery.SENT, within_s=60)

        assert waiting is not None
        assert waiting.delivery is Delivery.PENDING


async def test_a_new_contact_gets_a_name_from_the_provider() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, conversation_id = await written(house)
        with anyio.fail_after(60):
            while b"ok" not in bytes((await _metadata(house, conversation_id)).get("contact.fetch_state", b"")):
                await house.follower.progressed(house.follower.version, 1.0)

        name = bytes((await _metadata(house, conversation_id))["contact.display_name"])
        assert name.decode() == f'"{house.messenger.world.people[psid].name}"'


async def test_a_log_that_is_away_when_an_outcome_is_recorded_is_waited_for() -> None:
    house = House()
    async with house.open(connector=lambda: connector(house)):
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "patience")
        await house.tell(fact)
        house.faults.script("publish", "unavailable", after=1, times=5)  # the claim goes through, its outcome does not
        await house.until(fact.message_id, lambda message: message.delivery is Delivery.SENT)

        assert len(house.messenger.journal.sendings_of(fact.message_id)) == 1


async def _metadata(house: House, conversation_id: str) -> dict[str, bytes]:
    view = await house.store.conversation(conversation_id)
    return {key: bytes(text) for key, text in view.conversation.metadata.items()} if view else {}


async def test_who_was_away_between_claim_and_call_does_not_call_and_says_so() -> None:
    """Stopped with a claim in its hand, which somebody else may have given up: a failure is recorded, and retried."""
    house = House()
    async with house.open():
        await house.connect()
        psid, _ = await written(house)
        fact = queued(house, psid, "after a pause")
        await house.tell(fact)
        seen = await house.store.message(fact.message_id)
        assert seen is not None
        zombie = connector(house)
        zombie._worker = "the zombie"
        publish = house.bus.publish

        async def slow(emits: Sequence[Emit]) -> Sequence[Position]:
            positions = await publish(emits)
            await anyio.sleep(CLAIM_MS / 1000 + 1)
            return positions

        zombie._bus = SimpleNamespace(publish=slow)  # type: ignore[assignment]
        await zombie._attempt(Context("zombie", clock=house.clock, random=Random(0)), seen, house.channel)

        assert not house.messenger.journal.sendings_of(fact.message_id)
        message = await house.store.message(fact.message_id)
        assert message is not None
        assert (message.delivery, message.attempt) == (Delivery.PENDING, 1)


async def test_how_long_an_attempt_is_waited_for_is_measured_by_our_own_clock() -> None:
    """The clock of the machine that began it may be an hour behind: that makes no orphan of it."""
    house = House()
    async with house.open(connector=lambda: connector(house)):
        psid, _ = await written(house)
        fact = queued(house, psid, "by a slow clock", ttl_ms=7_200_000)
        await house.tell(fact)
        message = await house.store.message(fact.message_id)
        assert message is not None
        await house.tell(started(message, "an hour behind", house.clock.now_ms() - 3_600_000))
        await anyio.sleep(ORPHAN_MS / 1000 - 5)
        before = await house.store.message(fact.message_id)
        await anyio.sleep(10)
        after = await house.store.message(fact.message_id)

        assert before is not None
        assert after is not None
        assert (before.delivery, after.delivery) == (Delivery.SENDING, Delivery.UNKNOWN)


async def test_a_channel_that_is_connected_in_the_log_is_not_taken_for_unknown() -> None:
    """Topics have no order between them: the message may be folded before the channel's record is."""
    house = House()
    async with house.open():
        psid, _ = await written(house)
        fact = queued(house, psid, "right after connecting")
        await house.tell(fact)
        one = connector(house)
        one._worker = "one"
        lagging = Lagging(house)
        one._store = lagging  # type: ignore[assignment]
        await house.bus.publish([topics.CHANNELS.emit(house.channel.id, house.channel)])
        work = Work("send", "facebook", 0, fact.conversation_id, fact.message_id, 0, "pending", house.channel.id)
        await one._send(Context("one", clock=house.clock, random=Random(0)), work)
        message = await house.store.message(fact.message_id)

        assert lagging.asked
        assert message is not None
        assert message.delivery is Delivery.SENT


class Lagging:
    """A store that shows no channel the first time."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._house.store, name)

    async def channel(self, channel_id: str) -> Channel | None:
        self.asked += 1
        return None if self.asked == 1 else await self._house.store.channel(channel_id)


async def test_one_held_back_channel_does_not_hide_the_others() -> None:
    """More conversations of one channel wait than a round looks at, and its lane lets nobody in."""
    house = House()
    async with house.open():
        await house.connect()
        one = connector(house)
        one._lanes.enter(house.channel.id, house.clock.now_ms())
        one._lanes.pause(house.channel.id, house.clock.now_ms() + 60_000)
        asked: list[dict[str, object]] = []

        async def work(*_: object, **bounds: object) -> list[Work]:
            asked.append(bounds)
            return []

        one._store = SimpleNamespace(work=work)  # type: ignore[assignment]
        await one.assigned(dict.fromkeys(topics.EVENTS.where, 0))
        await one._dispatch(Context("one", clock=house.clock, random=Random(0)), None)  # type: ignore[arg-type]

        assert asked
        assert all(list(bounds["not_channels"]) == [house.channel.id] for bounds in asked)  # type: ignore[call-overload]
