"""Contacts of WhatsApp who hide their number keep their conversation; statuses in any order never go back."""

from collections.abc import Collection
from itertools import permutations
from typing import Any
from urllib.parse import urlencode

import pytest

from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import Fact, IdentityChanged, MessageReceived, ReceiptReported
from airy.model.fold import fold
from airy.model.identity import IdentityKey
from airy.sources.accounts import ConnectedChannels
from airy.sources.twilio.source import Twilio
from tests.kit.builders import Chat
from tests.kit.contracts.source import raw_record
from tests.kit.fold import DictState
from tests.kit.providers import WIRES
from tests.kit.providers.twilio import NUMBER

WIRE = WIRES["twilio"]
SOURCE: Any = WIRE.source()
SENDER, PHONE, HIDDEN = f"whatsapp:{NUMBER}", "whatsapp:+4915112345678", "whatsapp:DE.1A2B3C"
CHANNEL_ID = ids.channel_id("twilio.whatsapp", SENDER)
CONVERSATION_ID = ids.conversation_id(CHANNEL_ID, PHONE)


class KnownNames:
    """A connected sender, and the names that are known already."""

    def __init__(self, **names: str) -> None:
        self._connected = WIRE.connected(SENDER)
        self._names = {IdentityKey(CHANNEL_ID, name): (conversation,) for name, conversation in names.items()}

    def by_account(self, kind: str, account: str) -> Channel | None:
        return self._connected.by_account(kind, account)

    def conversations(self, key: IdentityKey) -> Collection[str]:
        return self._names.get(key, ())


def routed(channels: Any, **fields: str) -> list[Fact]:
    given = {"SmsStatus": "received", "To": SENDER, "Body": "hi"} | fields
    record = raw_record(SOURCE, urlencode(given).encode())
    assert {key.name for key in SOURCE.identities(record, channels)} >= {given["From"]}
    return list(SOURCE.route(record, channels).facts)


def test_a_contact_who_hides_the_number_keeps_the_conversation() -> None:
    known = {PHONE: CONVERSATION_ID}
    message, changed = routed(KnownNames(**known), MessageSid="SM1", From=PHONE, ExternalUserId=HIDDEN)
    assert isinstance(message, MessageReceived)
    assert isinstance(changed, IdentityChanged)
    assert (message.conversation_id, changed.conversation_id) == (CONVERSATION_ID, CONVERSATION_ID)
    assert (changed.aliases, changed.participant_id) == ((HIDDEN,), None)
    known[HIDDEN] = CONVERSATION_ID
    (later,) = routed(KnownNames(**known), MessageSid="SM2", From=HIDDEN, ExternalUserId=HIDDEN)
    assert later.conversation_id == CONVERSATION_ID


def test_statuses_of_a_hidden_number_find_the_conversation_of_the_message() -> None:
    status = {"MessageSid": "SM3", "MessageStatus": "read", "From": SENDER, "To": HIDDEN}
    record = raw_record(SOURCE, urlencode(status).encode())
    channels = KnownNames(**{HIDDEN: CONVERSATION_ID})
    assert list(SOURCE.identities(record, channels)) == [IdentityKey(CHANNEL_ID, HIDDEN)]
    (receipt,) = SOURCE.route(record, channels).facts
    assert receipt.conversation_id == CONVERSATION_ID


@pytest.mark.parametrize("written", [CONVERSATION_ID, "no id", ""])
def test_a_status_of_a_number_that_was_hidden_since_is_of_the_conversation_in_its_address(
    written: str,
) -> None:
    """And teach the name, under which the contact answers."""
    status = {"MessageSid": "SM3", "MessageStatus": "read", "From": SENDER, "To": HIDDEN}
    record = raw_record(SOURCE, urlencode(status).encode(), headers={"message-conversation": written})
    receipt, *changed = SOURCE.route(record, KnownNames()).facts
    assert (receipt.conversation_id == CONVERSATION_ID) is (written == CONVERSATION_ID)
    names = [(each.conversation_id, each.aliases, each.participant_id) for each in changed]
    assert names == ([(CONVERSATION_ID, (HIDDEN,), HIDDEN)] if written == CONVERSATION_ID else [])


def test_numbers_for_sms_have_one_name() -> None:
    form = urlencode({"MessageSid": "SM4", "From": "+49151", "To": NUMBER, "ExternalUserId": "x", "Body": "hi"})
    assert list(SOURCE.identities(raw_record(SOURCE, form.encode()), WIRE.connected(NUMBER))) == []


@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"To=%FF", b"a=1;b=2"])
def test_the_names_of_anything_are_read_without_an_error(body: bytes) -> None:
    assert list(Twilio(WIRE.section).identities(raw_record(SOURCE, body), ConnectedChannels())) == []


STATUSES = ("queued", "sent", "delivered", "read")


@pytest.mark.parametrize("order", list(permutations(STATUSES)), ids=" ".join)
def test_statuses_in_any_order_end_in_the_last_state(order: tuple[str, ...]) -> None:
    """Also before the answer to the call: the address of the callback names our message."""
    chat = Chat(source="twilio.whatsapp", source_channel_id=SENDER)
    state = DictState()
    for fact in (chat.received("a"), chat.queued("x"), chat.started("x")):
        fold(state, fact)
    ours = {"message-id": chat.outbound_id("x"), "message-attempt": "1"}
    for status in order:
        form = {"MessageSid": "SM9", "MessageStatus": status, "From": SENDER, "To": PHONE}
        record = raw_record(SOURCE, urlencode(form).encode(), headers=ours)
        (receipt,) = SOURCE.route(record, WIRE.connected(SENDER)).facts
        assert isinstance(receipt, ReceiptReported)
        fold(state, receipt)
    message = state.message(chat.outbound_id("x"))
    assert message is not None
    assert (message.delivery, message.provider_id) == (DeliveryState.READ, "SM9")
