"""The changes the fold makes, and their bodies."""

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from msgspec.structs import replace

from airy.model import ids, invariants
from airy.model.change import Change, ChangeKind
from airy.model.change_builder import entity_change
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from tests.kit.builders import START_MS, Chat, channel, raw, seeded_log, tag
from tests.kit.fold import fold_all


def bodies(*facts: Fact) -> list[dict[str, object]]:
    return [msgspec.json.decode(change.body) for change in fold_all(facts).changes]


def last_changes(*facts: Fact) -> list[str]:
    """The kinds of the changes of the last fact."""
    reference = fold_all(facts[:-1])
    return [change.kind.value for change in reference.fold(facts[-1]).changes]


def test_a_new_message_makes_three_changes() -> None:
    chat = Chat()
    fact = chat.received("a", "hi", at_ms=1_709_622_489_120)
    created, updated, metadata = bodies(fact)
    conversation_id, message_id = chat.conversation_id, chat.inbound_id("a")
    message = {
        "id": message_id,
        "content": {"message": {"mid": chat.provider_id("a"), "text": "hi"}},
        "sent_at": "2024-03-05T07:08:09.120Z",
        "delivery_state": "delivered",
        "from_contact": True,
        "source": "facebook",
        "metadata": {"source": {"id": chat.provider_id("a")}},
        "sender": {"id": chat.participant_id, "name": None, "avatar_url": None},
    }
    envelope = {"timestamp": 1_709_622_489_120, "sequence": 1}
    assert created == envelope | {
        "id": ids.change_id(conversation_id, fact.id, 0),
        "type": "message.created",
        "payload": {"conversation_id": conversation_id, "channel_id": chat.channel_id, "message": message},
    }
    assert updated == envelope | {
        "id": ids.change_id(conversation_id, fact.id, 1),
        "type": "conversation.updated",
        "payload": {
            "id": conversation_id,
            "created_at": "2024-03-05T07:08:09.120Z",
            "state_version": 0,
            "channel_id": chat.channel_id,
            "metadata": {"contact": {"display_name": f"Facebook {conversation_id[31:]}"}, "unread_count": 1},
            "last_message": message,
        },
    }
    assert metadata == envelope | {
        "id": ids.change_id(conversation_id, fact.id, 2),
        "type": "metadata.updated",
        "payload": {"subject": "conversation", "identifier": conversation_id, "metadata": {"unread_count": 1}},
    }


def test_a_deletion_carries_the_message_id_only() -> None:
    chat = Chat()
    payload = bodies(chat.received("a"), chat.received("b"), chat.deleted("a"))[6]["payload"]
    assert payload == {
        "conversation_id": chat.conversation_id,
        "channel_id": chat.channel_id,
        "message_id": chat.inbound_id("a"),
    }


def test_a_change_names_its_lane_channel_and_source() -> None:
    chat = Chat()
    created, updated, _ = fold_all([chat.received("a")]).changes
    assert (created.lane, created.channel_id, created.source) == (chat.conversation_id, chat.channel_id, "facebook")
    assert (created.from_contact, updated.from_contact) == (True, False)
    assert msgspec.json.decode(created.body)["id"] == created.id
    assert created.at_ms == START_MS + 1000


def test_an_outbound_message_updates_its_conversation_even_if_it_is_older() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a", at_ms=1000), chat.received("b", at_ms=5000)]
    assert last_changes(*facts, chat.echoed("z", at_ms=3000)) == ["message.created", "conversation.updated"]
    assert last_changes(*facts, chat.echoed("z", at_ms=500)) == ["message.created", "conversation.updated"]


def test_an_update_of_an_older_message_does_not_update_the_conversation() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.received("b")]
    assert last_changes(*facts, chat.edited("a", "new")) == ["message.updated"]
    assert last_changes(*facts, chat.edited("b", "new")) == ["message.updated", "conversation.updated"]


def test_an_edit_to_the_same_content_is_accepted_without_a_change() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.received("a"), chat.edited("a", "new", 1)]
    assert last_changes(*facts, chat.edited("a", "new", 2)) == []
    assert fold_all([*facts, chat.edited("a", "new", 3)]).conversation(chat.conversation_id).sequence == 3


def test_a_watermark_makes_a_change_for_every_message_it_moves() -> None:
    chat = Chat()
    facts: list[Fact] = [chat.echoed("x", at_ms=1000), chat.echoed("y", at_ms=2000), chat.echoed("z", at_ms=9000)]
    reference = fold_all(facts)
    changes = reference.fold(chat.receipt(DeliveryState.READ, watermark_ms=5000)).changes
    assert [change.kind.value for change in changes] == ["message.updated", "message.updated"]
    shown = [msgspec.json.decode(change.body)["payload"]["message"]["id"] for change in changes]
    assert shown == [chat.inbound_id("x"), chat.inbound_id("y")]


@given(st.integers(0, 3))
def test_two_folds_of_one_log_make_the_same_bytes(seed: int) -> None:
    one, other = fold_all(seeded_log(seed, facts=300)), fold_all(seeded_log(seed, facts=300))
    assert one.changes == other.changes
    assert len({change.id for change in one.changes}) == len(one.changes)


def test_a_long_plausible_log_has_no_violations() -> None:
    reference = fold_all(seeded_log(7, facts=2000))
    for conversation_id, state in reference.states.items():
        changes = [change for change in reference.changes if change.lane == conversation_id]
        assert invariants.change_violations(changes) == []
        assert invariants.violations(reference.conversation(conversation_id), state.messages()) == []
    assert {change.kind for change in reference.changes} >= {
        ChangeKind.MESSAGE_CREATED,
        ChangeKind.MESSAGE_UPDATED,
        ChangeKind.MESSAGE_DELETED,
        ChangeKind.METADATA_UPDATED,
    }


# --- entities


def test_a_channel_change_has_metadata_and_no_secrets() -> None:
    page = channel(page_token="clear")
    change = entity_change(ChangeKind.CHANNEL_UPDATED, page, at_ms=7, write_id="w1", version=START_MS)
    assert msgspec.json.decode(change.body) == {
        "id": ids.derive(page.id, ":w1:channel.updated"),
        "type": "channel.updated",
        "timestamp": START_MS,
        "sequence": START_MS,
        "payload": {
            "id": page.id,
            "source": "facebook",
            "source_channel_id": "204918377001",
            "connected": True,
            "metadata": {"name": "Corner Bakery"},
        },
    }
    assert (change.lane, change.channel_id, change.source, change.sequence) == (page.id, page.id, "facebook", START_MS)


def test_a_tag_change_carries_the_tag() -> None:
    change = entity_change(ChangeKind.TAG_UPDATED, tag(), at_ms=7, write_id=None, version=START_MS)
    assert msgspec.json.decode(change.body)["payload"] == {"id": tag().id, "name": "Urgent", "color": "tag-red"}
    assert (change.lane, change.at_ms) == (tag().id, START_MS)


def test_every_write_of_an_entity_has_its_own_change_id() -> None:
    later = replace(tag(), updated_at_ms=START_MS + 1)
    changes = [
        entity_change(ChangeKind.TAG_UPDATED, tag(), at_ms=7, write_id="w1", version=START_MS),
        entity_change(
            ChangeKind.TAG_UPDATED, tag(), at_ms=7, write_id="w2", version=START_MS
        ),  # in the same millisecond
        entity_change(ChangeKind.TAG_UPDATED, tag(), at_ms=7, write_id=None, version=START_MS),
        entity_change(ChangeKind.TAG_UPDATED, later, at_ms=7, write_id=None, version=START_MS),
    ]
    assert len({change.id for change in changes}) == len(changes)


def test_an_entity_without_a_time_is_numbered_by_its_record() -> None:
    change = entity_change(ChangeKind.TAG_UPDATED, replace(tag(), updated_at_ms=0), at_ms=7, write_id=None, version=7)
    assert (change.sequence, change.at_ms) == (7, 0)


def test_unusual_texts_stay_json() -> None:
    chat = Chat(source='odd"source\n')
    reference = fold_all([chat.received("a", 'quote " backslash \\ newline \n emoji 🍞')])
    assert [msgspec.json.decode(change.body)["type"] for change in reference.changes] == [
        "message.created",
        "conversation.updated",
        "metadata.updated",
    ]


def test_changes_are_values() -> None:
    change = entity_change(ChangeKind.TAG_UPDATED, tag(), at_ms=7, write_id=None, version=START_MS)
    assert msgspec.json.decode(msgspec.json.encode(change), type=Change) == change
    assert raw({"a": 1}) == raw({"a": 1})
