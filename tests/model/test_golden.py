"""Bytes that were written once stay decodable.

`golden/` holds what this version writes, one file per kind. A field may be added; a file must not have to change.
Run this file to write the ones that are missing.
"""

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import Raw, Struct

from airy.model.change import Change
from airy.model.contact import Contact, ContactsWritten, ContactWrite, PostalAddress
from airy.model.conversation import Conversation, Message
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel, Tag, Template, User, Webhook
from airy.model.fact import Fact
from airy.model.process_status import ComponentStatus, ProcessStatus
from tests.kit.builders import START_MS, Chat, api_token, channel, dead, raw, tag, template, webhook
from tests.kit.fold import fold_all

GOLDEN = Path(__file__).parent / "golden"
DAY_MS = 86_400_000


def facts() -> list[Fact]:
    """One of each kind, with every field set."""
    chat = Chat(1)
    made: list[Fact] = [
        chat.received(
            "a", "Is the rye bread back? 🍞", window_until_ms=START_MS + DAY_MS, reply_to="m_0", standby=True
        ),
        chat.echoed("z", ours="x"),
        chat.queued("x", recipient_id="6120000000000001", expires_at_ms=START_MS + DAY_MS),
        chat.resend("x", expires_at_ms=START_MS + DAY_MS),
        chat.started("x", 2, worker="worker-1"),
        chat.succeeded("x", 2, provider="z"),
        chat.failed("x", 2, detail={"error": {"code": 10}}, retry_at_ms=START_MS + 5000),
        chat.unknown("x", 2),
        chat.receipt(DeliveryState.FAILED, "z", watermark_ms=START_MS, error="unreachable", error_code="131026"),
        chat.edited("a", "Is the rye bread back today?", 1),
        chat.deleted("a"),
        chat.reacted("a", "❤️"),
        chat.metadata({"user_data.order": 42, "user_data.note": None}, remove=("user_data.old",)),
        chat.profile("Ines Kuhn", "https://img.example.org/p.png"),
        chat.refetch(),
        chat.read(),
        chat.tag_added(tag().id),
        chat.tag_removed(tag().id),
        chat.state_changed("CLOSED"),
        msgspec.structs.replace(
            chat.handover("pass", "263902037430900"), content=raw({"new_owner_app_id": "263902037430900"})
        ),
        chat.noted("referral", referral="flyer-12"),
        chat.cancel("x"),
        chat.resumed(2, family=1),
        chat.revoked(1),
        chat.deferred("w", recipient_id="6120000000000001"),
        chat.identified("DE.9k2f0000000001", participant_id="4915199999999", same_contact="c"),
    ]
    made[0] = msgspec.structs.replace(
        made[0], headers={"postback.payload": "HOURS"}, cause="source.facebook.events-3-17"
    )
    return made


def state() -> tuple[Conversation, list[Message]]:
    """A conversation and messages with every field in use."""
    chat = Chat(1)
    first = chat.received("a", window_until_ms=START_MS + DAY_MS, reply_to="m_0", standby=True)
    reference = fold_all(
        [
            msgspec.structs.replace(first, headers={"postback.payload": "HOURS"}),
            chat.reacted("a"),
            chat.edited("a", "new"),
            chat.received("gone"),
            chat.deleted("gone"),
            chat.read(),
            chat.received("b"),
            chat.profile("Ines", "http://a/b"),
            chat.queued("x", expires_at_ms=START_MS + DAY_MS),
            chat.started("x"),
            chat.failed("x", detail={"code": 1}),
            chat.queued("y"),
            chat.started("y"),
            chat.unknown("y"),
            chat.queued("w"),
            chat.started("w"),
            chat.failed("w", retry_at_ms=START_MS + 9000),
            chat.echoed("z"),
            chat.receipt(DeliveryState.FAILED, "z", error="gone"),
            chat.receipt(DeliveryState.READ, watermark_ms=START_MS + 500),
            chat.receipt(DeliveryState.DELIVERED, watermark_ms=START_MS + 600),
            chat.edited("later", "early"),
            chat.reacted("later"),
            chat.receipt(DeliveryState.FAILED, "later", error="e", error_code="1"),
            chat.deleted("never"),
            chat.tag_added(tag().id),
            chat.state_changed("OPEN"),
            chat.handover(),
            chat.noted(),
            chat.metadata({"user_data.n": 1}, message_id=chat.inbound_id("a")),
        ]
    )
    return reference.conversation(chat.conversation_id), reference.state(chat.conversation_id).messages()


def resumed_state() -> Conversation:
    chat = Chat(1)
    log = [chat.received("a"), chat.revoked(), chat.resumed(family=1)]
    return fold_all(log).conversation(chat.conversation_id)


def identified_state() -> Conversation:
    chat = Chat(1)
    log = [chat.received("a"), chat.identified("DE.1", participant_id="4915199999999")]
    return fold_all(log).conversation(chat.conversation_id)


def canonical_facts() -> dict[str, Fact]:
    """Facts with the fields that came with canonical content, by the name of their file."""
    chat = Chat(1)
    contents = raw([{"type": "text", "text": "Is the rye bread back?"}])
    named: dict[str, Fact] = {
        "received": msgspec.structs.replace(chat.received("a"), canonical=contents, sender_id="7100001"),
        "echoed": msgspec.structs.replace(chat.echoed("z"), canonical=contents),
        "queued": msgspec.structs.replace(chat.queued("x"), canonical=contents),
        "edited": msgspec.structs.replace(chat.edited("a", "new"), canonical=contents),
        "receipt": msgspec.structs.replace(
            chat.receipt(DeliveryState.SENT, "z"), our_message_id=chat.outbound_id("x"), our_attempt=1
        ),
    }
    return named


def arrived_facts() -> dict[str, Fact]:
    """Facts with the fields that came with the bounds of provider times, by the name of their file."""
    chat = Chat(1)
    return {
        "received": msgspec.structs.replace(chat.received("a"), arrived_at_ms=START_MS),
        "echoed": msgspec.structs.replace(chat.echoed("z"), arrived_at_ms=START_MS),
        "watermark": msgspec.structs.replace(
            chat.receipt(DeliveryState.READ, watermark_ms=START_MS), watermark_written="2051049600987"
        ),
    }


def priced_receipt() -> Fact:
    return Chat(1).receipt(DeliveryState.SENT, "z", pricing=raw({"category": "service"}))


def priced_state() -> list[Message]:
    chat = Chat(1)
    priced = msgspec.structs.replace(priced_receipt(), id="priced")
    log = [chat.received("a"), chat.queued("x"), chat.started("x"), chat.succeeded("x", provider="z"), priced]
    return fold_all(log).state(chat.conversation_id).messages()


def canonical_state() -> list[Message]:
    made = canonical_facts()
    chat = Chat(1)
    log = [made["received"], made["queued"], chat.started("x"), made["receipt"], made["edited"]]
    return fold_all(log).state(chat.conversation_id).messages()


def changes() -> list[Change]:
    chat = Chat(1)
    log: list[Fact] = [
        chat.received("a"),
        chat.queued("x"),
        chat.started("x"),
        chat.succeeded("x", provider="z"),
        chat.read(),
    ]
    return fold_all(log).changes


def contact() -> Contact:
    return Contact(
        id="c",
        display_name="Ines",
        avatar_url="http://a/b",
        title="Buyer",
        gender="f",
        timezone=-3,
        locale="de_DE",
        organization_name="Acme",
        via={"phone": "1"},
        address=PostalAddress(
            organization_name="Acme",
            address_line1="1",
            address_line2="2",
            postal_code="3",
            city="4",
            state="5",
            country="6",
        ),
        conversations={"c1": "facebook"},
        metadata=Raw(b'{"a":1}'),
        merge_history=(Contact(id="d", created_at_ms=1, updated_at_ms=1),),
        request="r",
        created_at_ms=1,
        updated_at_ms=2,
    )


def samples() -> dict[str, tuple[Struct | list[Message] | list[Change], object]]:
    """File name to a value and the type it is read as."""
    conversation, messages = state()
    kinds = {type(fact).__struct_config__.tag: fact for fact in facts()}
    entities: dict[str, Struct] = {
        "channel": channel(page_id="204918377001"),
        "apitoken": api_token(),
        "tag": tag(),
        "template": template(),
        "webhook": webhook(events=("message.created",), signature_key="sealed", headers="sealed", name="crm"),
        "contactswritten": ContactsWritten(
            id="w",
            at_ms=3,
            writes=(ContactWrite(id="c", base=2, contact=contact()), ContactWrite(id="d", base=1)),
            covered={"c2": 4},
        ),
        "processstatus": ProcessStatus(
            instance="one:8080",
            version="1.2.3",
            started_at_ms=1,
            at_ms=2,
            heartbeat_interval_ms=5000,
            ready=False,
            url="http://one:8080",
            waiting_for={"store": "it is folding the log"},
            memory_bytes=3,
            fold_lag=4,
            fold_age_ms=5,
            caught_up=True,
            loop_delay_ms=6,
            components={"http": ComponentStatus(ready=True, restarts=1, lag=2, rebalances=3)},
        ),
        "deaddelivery": msgspec.structs.replace(
            dead(1, died_at_ms=2, replay_requested_at_ms=3),
            trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        "user": User(id="github:ines", name="Ines", avatar_url="http://a/b", first_seen_at_ms=1, last_seen_at_ms=2),
    }
    return (
        {f"fact.{kind}": (fact, Fact) for kind, fact in kinds.items()}
        | {f"canonical.{name}": (fact, Fact) for name, fact in canonical_facts().items()}
        | {f"arrived.{name}": (fact, Fact) for name, fact in arrived_facts().items()}
        | {f"entity.{name}": (entity, type(entity)) for name, entity in entities.items()}
        | {
            "state.conversation": (conversation, Conversation),
            "state.resumed": (resumed_state(), Conversation),
            "state.identified": (identified_state(), Conversation),
            "state.messages": (messages, list[Message]),
            "canonical.messages": (canonical_state(), list[Message]),
            "priced.receipt": (priced_receipt(), Fact),
            "priced.messages": (priced_state(), list[Message]),
            "changes": (changes(), list[Change]),
        }
    )


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_bytes_decode_to_the_same_values(name: str) -> None:
    value, as_type = SAMPLES[name]
    assert msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes(), type=as_type) == value


@pytest.mark.parametrize("name", SAMPLES)
def test_values_encode_to_the_golden_bytes(name: str) -> None:
    """A new field with its default is not encoded, so a difference means that a field changed."""
    assert msgspec.json.encode(SAMPLES[name][0]) == (GOLDEN / f"{name}.json").read_bytes()


def test_every_kind_of_fact_and_entity_has_golden_bytes() -> None:
    kinds = {f"fact.{kind.__struct_config__.tag}" for kind in get_args(Fact)}
    types = (Channel, ContactsWritten, DeadDelivery, ProcessStatus, Tag, Template, User, Webhook)
    entities = {f"entity.{kind.__name__.lower()}" for kind in types}
    assert kinds | entities <= set(SAMPLES)
    assert {path.stem for path in GOLDEN.iterdir()} == set(SAMPLES)


def test_every_field_of_the_state_is_in_the_golden_bytes() -> None:
    """Fields with their default are not encoded, so a golden file without a field proves nothing about it."""
    files = {
        Conversation: ["state.conversation", "state.resumed", "state.identified"],
        Message: ["state.messages", "canonical.messages", "priced.messages"],
    }
    for kind, names in files.items():
        text = b"".join((GOLDEN / f"{name}.json").read_bytes() for name in names)
        missing = [field for field in kind.__struct_encode_fields__ if f'"{field}"'.encode() not in text]
        assert missing == []


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for sample_name, (sample, _) in SAMPLES.items():
        path = GOLDEN / f"{sample_name}.json"
        if not path.exists():
            path.write_bytes(msgspec.json.encode(sample))
