"""Webhooks of one number become conversations, in virtual time over the real log, router, connector and store."""

from collections.abc import Callable

import msgspec
import pytest

from airy import topics
from airy.actors.connector import Connector
from airy.model import ids, metadata
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.store.sqlite import SqliteStore
from tests.kit.providers import WIRES
from tests.kit.providers.whatsapp import CONTACT, NUMBER_ID, WABA, envelope, written
from tests.kit.scripted_harness import ScriptedHarness
from tests.kit.scripted_provider import Act

WIRE = WIRES["whatsapp"]
RAW = topics.source_events("whatsapp")
CHANNEL = "226db244-7a7e-5a95-ad2d-98002d109fe3"
CONVERSATION = "10d03bb3-b767-5012-95ed-485707887422"
USER, NEW_USER, NEW_NUMBER = "DE.9k2f0000000001", "DE.9k2f0000000002", "4915199999999"


def whatsapp(*script: Act) -> ScriptedHarness:
    return ScriptedHarness(WIRE, *script)


def connector(harness: ScriptedHarness) -> Callable[[], Connector]:
    return lambda: Connector(
        harness.bus, harness.store, harness.projector, [harness.source], harness.provider, harness.credentials
    )


def wrote(name: str, at_ms: int, *, number: str | None = None, user: str | None = None) -> dict[str, object]:
    """A contact wrote, under these names."""
    names = {"from": number, "from_user_id": user}
    shown = {"wa_id": number, "user_id": user}
    message = {"id": f"wamid.{name}", "timestamp": str(at_ms // 1000), "type": "text", "text": {"body": name}}
    contact = {"profile": {"name": "Ines"}, **{key: part for key, part in shown.items() if part}}
    message |= {key: part for key, part in names.items() if part}
    return envelope(contacts=[contact], messages=[message])


async def come(harness: ScriptedHarness, *documents: dict[str, object]) -> None:
    await harness.bus.publish([RAW.record(WABA, written(document)) for document in documents])


async def stored(harness: ScriptedHarness, name: str) -> Message:
    return await harness.until(ids.derive("", f"wamid.{name}"), lambda _: True, within_s=60)


async def conversation(harness: ScriptedHarness, conversation_id: str = CONVERSATION) -> Conversation:
    view = await harness.store.conversation(conversation_id)
    assert view is not None
    return view.conversation


async def test_wa_2_f12_a_text_becomes_a_message_and_its_contact_a_name() -> None:
    harness = whatsapp()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, wrote("a", harness.clock.now_ms(), number=CONTACT))
        message = await stored(harness, "a")

        assert (message.channel_id, message.conversation_id, message.sender_id) == (CHANNEL, CONVERSATION, CONTACT)
        found = await conversation(harness)
        assert metadata.text(found.metadata, "contact.display_name") == "Ines"


async def test_a_contact_keeps_the_conversation_whatever_they_are_called() -> None:
    """The number is hidden, then changed, with a new id; and an agent answers."""
    harness = whatsapp()
    async with harness.open(router=harness.router, connector=connector(harness)):
        await harness.connect()
        now_ms = harness.clock.now_ms()
        changed = {"type": "user_changed_number", "wa_id": NEW_NUMBER, "user_id": NEW_USER, "previous_user_id": USER}
        system = {"from": CONTACT, "id": "wamid.sys", "timestamp": str(now_ms // 1000), "type": "system"}
        await come(
            harness,
            wrote("both", now_ms, number=CONTACT, user=USER),
            wrote("hidden", now_ms, user=USER),
            envelope(messages=[system | {"system": changed | {"body": "x"}}]),
            wrote("new id", now_ms, user=NEW_USER),
            wrote("new number", now_ms, number=NEW_NUMBER),
        )
        names = ["both", "hidden", "sys", "new id", "new number"]
        assert {(await stored(harness, name)).conversation_id for name in names} == {CONVERSATION}

        fact = harness.queued("Yes.", conversation_id=CONVERSATION)
        await harness.append(fact)
        await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT)
        assert [attempt.taken.recipient for attempt in harness.provider.delivered] == [NEW_NUMBER]


async def test_a_message_that_waits_while_the_contact_changes_the_number_goes_to_the_new_one() -> None:
    harness = whatsapp()
    async with harness.open(router=harness.router, connector=connector(harness)):
        await harness.connect()
        now_ms = harness.clock.now_ms()
        await come(harness, wrote("a", now_ms, number=CONTACT))
        await stored(harness, "a")
        harness.provider.script.append(Act.RATE_LIMITED)
        fact = harness.queued("Yes.", conversation_id=CONVERSATION)
        await harness.append(fact)
        await harness.until(fact.message_id, lambda message: message.attempt_count == 1)
        changed = {"type": "user_changed_number", "wa_id": NEW_NUMBER, "body": "x"}
        system = {"from": CONTACT, "id": "wamid.sys", "timestamp": str(now_ms // 1000), "type": "system"}
        await come(harness, envelope(messages=[system | {"system": changed}]))
        await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=600)
    assert [attempt.taken.recipient for attempt in harness.provider.attempts] == [CONTACT, NEW_NUMBER]


async def test_the_log_alone_gives_the_same_conversations_again() -> None:
    """G5: no look-up is needed to fold it."""
    harness, other = whatsapp(), SqliteStore(":memory:")
    async with harness.open(router=harness.router):
        await harness.connect()
        now_ms = harness.clock.now_ms()
        await come(harness, wrote("a", now_ms, user=USER), wrote("b", now_ms, number=CONTACT, user=USER))
        await come(harness, wrote("c", now_ms, number=CONTACT))
        assert len({(await stored(harness, name)).conversation_id for name in "abc"}) == 1
        await other.open()
        async with harness.bus.tail(await harness.bus.beginning_offsets(topics.FOLDED)) as tail:
            await other.apply(await tail.fetch(records_max=10_000, wait_s=0.0))
        assert await other.digest() == await harness.store.digest()
        await other.close()


@pytest.mark.parametrize(("act", "wanted"), [(Act.OK, DeliveryState.SENT), (Act.BLOCKED, DeliveryState.FAILED)])
async def test_f12_an_answer_is_sent_or_fails_with_a_reason(act: Act, wanted: DeliveryState) -> None:
    """WA-3."""
    harness = whatsapp(act)
    async with harness.open(connector=connector(harness)):
        await harness.begin()
        fact = harness.queued("Yes.")
        await harness.append(fact)
        message = await harness.until(fact.message_id, lambda each: each.delivery is wanted)
        assert (message.provider_id is not None) is (wanted is DeliveryState.SENT)
        assert ("error" in message.metadata) is (wanted is DeliveryState.FAILED)


async def test_a_status_settles_a_send_whose_answer_was_lost() -> None:
    """By what the message carries, although the contact has another name by now."""
    harness = whatsapp(Act.TAKEN_SILENT)
    async with harness.open(router=harness.router, connector=connector(harness)):
        await harness.begin()
        fact = harness.queued("Yes.")
        await harness.append(fact)
        await harness.until(fact.message_id, lambda each: each.delivery is DeliveryState.UNKNOWN)
        data = msgspec.json.decode(harness.provider.requests[-1].body)["biz_opaque_callback_data"]
        now_s = str(harness.clock.now_ms() // 1000)
        status = {"id": "wamid.OUT-1", "status": "delivered", "timestamp": now_s, "recipient_user_id": NEW_USER}
        await come(harness, envelope(statuses=[status | {"biz_opaque_callback_data": data}]))
        message = await harness.until(fact.message_id, lambda each: each.delivery is DeliveryState.DELIVERED)
        assert message.provider_id == "wamid.OUT-1"
        assert list((await conversation(harness)).aliases) == [NEW_USER]


async def test_a_message_that_was_accepted_may_fail_later() -> None:
    harness = whatsapp()
    async with harness.open(router=harness.router, connector=connector(harness)):
        await harness.begin()
        fact = harness.queued("Yes.")
        await harness.append(fact)
        await harness.until(fact.message_id, lambda each: each.delivery is DeliveryState.SENT)
        error = {"code": 131047, "title": "Re-engagement message"}
        now_s = str(harness.clock.now_ms() // 1000)
        status = {
            "id": "wamid.OUT-1",
            "status": "failed",
            "timestamp": now_s,
            "recipient_id": CONTACT,
            "errors": [error],
        }
        await come(harness, envelope(statuses=[status]))
        message = await harness.until(fact.message_id, lambda each: each.delivery is DeliveryState.FAILED)
        assert msgspec.json.decode(message.metadata["source.error_kind"]) == "window"


async def test_the_app_of_the_business_edits_and_deletes_what_it_wrote() -> None:
    harness = whatsapp()
    async with harness.open(router=harness.router):
        await harness.connect()
        now_s = str(harness.clock.now_ms() // 1000)
        about = {"from": "493012345678", "to": CONTACT, "timestamp": now_s}
        new = {"type": "text", "text": {"body": "x"}}
        corrected = {"type": "text", "text": {"body": "corrected"}}
        edit = {"type": "edit", "edit": {"original_message_id": "wamid.app", "message": corrected}}
        await come(
            harness,
            envelope("smb_message_echoes", message_echoes=[about | new | {"id": "wamid.app"}]),
            envelope("smb_message_echoes", message_echoes=[about | edit | {"id": "wamid.e"}]),
        )
        message = await harness.until(ids.derive("", "wamid.app"), lambda each: each.edited_at_ms > 0)
        assert (message.from_contact, message.sender_id) == (False, "whatsapp:app")
        assert msgspec.json.decode(message.content)["text"] == {"body": "corrected"}
        revoke = {"type": "revoke", "revoke": {"original_message_id": "wamid.app"}}
        await come(harness, envelope("smb_message_echoes", message_echoes=[about | revoke | {"id": "wamid.r"}]))
        await harness.until(message.id, lambda each: each.deleted)


async def test_wa_1_a_webhook_is_accepted_by_its_signature_alone() -> None:
    webhook = WIRE.received("whatsapp", 1, "x", 1_767_225_600_000)
    connected = WIRE.connected(NUMBER_ID)
    assert WIRE.source().verify(WIRE.request(webhook), connected).account == WABA  # type: ignore[union-attr]
    forged = WIRE.source().verify(WIRE.request(webhook, headers=WIRE.forged(webhook)), connected)
    assert forged.status == 403  # type: ignore[union-attr]
