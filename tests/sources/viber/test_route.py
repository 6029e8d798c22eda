"""What Viber's callbacks do to a conversation."""

import msgspec

from airy.model import metadata
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact, MessageReceived, ProfileResolved, ReceiptReported
from airy.model.fold import fold
from airy.model.fold_conversation import NAME
from airy.sources.accounts import ConnectedChannels
from tests.kit.contracts.source import RECEIVED_MS, raw_record
from tests.kit.fold import DictState
from tests.kit.providers import WIRES
from tests.kit.providers.viber import BOT, CONTACT

WIRE = WIRES["viber"]
SENT = 5_741_311_803_571_799_001


def facts(event: dict[str, object], channels: ConnectedChannels | None = None) -> list[Fact]:
    record = raw_record(WIRE.source(), msgspec.json.encode(event), account=BOT)
    return WIRE.source().route(record, channels or WIRE.connected(BOT)).facts


def test_vi_2_f11_four_callbacks_are_two_messages_their_profiles_and_two_receipts_of_one_message() -> None:
    person = {"id": CONTACT, "name": "Ines", "avatar": "https://img.example.org/i.png"}
    seen = [
        facts({"event": "conversation_started", "timestamp": RECEIVED_MS, "message_token": 1 << 62, "user": person}),
        facts(
            {
                "event": "message",
                "timestamp": RECEIVED_MS,
                "message_token": (1 << 62) + 1,
                "sender": person,
                "message": {"type": "text", "text": "Hallo"},
            }
        ),
        facts({"event": "delivered", "timestamp": RECEIVED_MS, "message_token": SENT, "user_id": CONTACT}),
        facts({"event": "seen", "timestamp": RECEIVED_MS, "message_token": SENT, "user_id": CONTACT}),
    ]
    found = [fact for each in seen for fact in each]
    messages = [fact for fact in found if isinstance(fact, MessageReceived)]
    profiles = [(fact.display_name, fact.avatar_url) for fact in found if isinstance(fact, ProfileResolved)]
    receipts = [fact for fact in found if isinstance(fact, ReceiptReported)]
    assert [message.provider_id for message in messages] == [str(1 << 62), str((1 << 62) + 1)]
    assert profiles == [("Ines", "https://img.example.org/i.png")] * 2
    assert [(receipt.state, receipt.provider_ids) for receipt in receipts] == [
        (DeliveryState.DELIVERED, (str(SENT),)),
        (DeliveryState.READ, (str(SENT),)),
    ]
    assert len({fact.conversation_id for fact in found}) == 1


def test_a_contact_who_takes_a_former_name_has_it() -> None:
    state = DictState()
    for number, name in enumerate(("Ines", "Mina", "Ines")):
        event = {
            "event": "message",
            "timestamp": RECEIVED_MS,
            "message_token": number + 1,
            "sender": {"id": CONTACT, "name": name},
            "message": {"type": "text", "text": "Hallo"},
        }
        for fact in facts(event) * 2:  # every callback comes twice
            fold(state, fact)
        conversation = state.conversation()
        assert conversation is not None
        assert metadata.text(conversation.metadata, NAME) == name


def test_neighbouring_tokens_above_53_bits_are_two_messages() -> None:
    one, other = (
        facts(
            {"event": "message", "message_token": token, "sender": {"id": CONTACT}, "message": {"type": "text"}},
        )[0]
        for token in (9_007_199_254_740_992, 9_007_199_254_740_993)
    )
    assert one.id != other.id
