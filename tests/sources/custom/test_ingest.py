"""Any batch is refused as a whole, with the field, or taken as a whole; and taken again, it changes nothing."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from airy.errors import Refused
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.sources.custom.batch import (
    Batch,
    IngestedDeletion,
    IngestedMessage,
    IngestedMetadata,
    IngestedReaction,
    IngestedReceipt,
)
from airy.sources.custom.ingest import AHEAD_MAX_MS, Known, facts_of
from tests.kit.fold import ReferenceFold

SOURCE = "crm"
NOW_MS = 1_767_225_600_000
FIELD = re.compile(r"(messages|metadata|receipts|reactions|deletions)\[\d+\]\.[a-z_.\[\]\d]+")
CHANNELS = {
    name: Channel(id=ids.channel_id(SOURCE, name), source=SOURCE, source_channel_id=name, connected=True)
    for name in ("desk", "shop")
}

NAMES = st.sampled_from(["1", "2", "3"])
TIMES = st.integers(0, NOW_MS + AHEAD_MAX_MS + 1)
CONTENTS = st.sampled_from(
    [b'"hello"', b'{"text":"hi"}', b"7", b'{"canonical":{"type":"text","text":"x"}}', b'{"canonical":{"type":"media"}}']
).map(Raw)
MESSAGES = st.builds(
    IngestedMessage,
    source_message_id=NAMES,
    source_conversation_id=NAMES,
    source_channel_id=st.sampled_from(["desk", "desk", "desk", "shop", "unknown"]),
    source_sender_id=NAMES,
    content=CONTENTS,
    from_contact=st.booleans(),
    sent_at_ms=TIMES,
)
VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "Ines", "Ada"])
TREES = st.dictionaries(
    st.sampled_from(["contact", "display_name", "avatar_url", "tier", "tags", "source"]),
    VALUES | st.dictionaries(st.sampled_from(["display_name", "avatar_url", "id"]), VALUES),
)
METADATA = st.builds(
    IngestedMetadata, namespace=st.sampled_from(["conversation", "message"]), source_id=NAMES, metadata=TREES
)
RECEIPTS = st.builds(
    IngestedReceipt,
    source_conversation_id=NAMES,
    source_message_id=st.none() | NAMES,
    message_id=st.none() | NAMES.map(lambda name: ids.derive(SOURCE, name)),
    state=st.sampled_from(["sent", "delivered", "read", "failed"]).map(DeliveryState),
    error=st.none() | st.just("no"),
    at_ms=st.none() | TIMES,
)
REACTIONS = st.builds(
    IngestedReaction,
    source_conversation_id=NAMES,
    source_message_id=NAMES,
    source_sender_id=NAMES,
    emoji=st.none() | st.just("👍"),
    at_ms=TIMES,
)
DELETIONS = st.builds(IngestedDeletion, source_conversation_id=NAMES, source_message_id=NAMES)
BATCHES = st.builds(
    Batch,
    messages=st.lists(MESSAGES, max_size=4),
    metadata=st.lists(METADATA, max_size=2),
    receipts=st.lists(RECEIPTS, max_size=2),
    reactions=st.lists(REACTIONS, max_size=2),
    deletions=st.lists(DELETIONS, max_size=1),
)


def known(folded: ReferenceFold, batch: Batch) -> Known:
    """As the command reads it from the store."""

    def conversation(name: str) -> Conversation | None:
        found = folded.state(ids.derive(SOURCE, name)).conversation()
        return found if found is not None and found.visible else None

    def message(message_id: str) -> Message | None:
        states = list(folded.states.values())
        return next((found for each in states if (found := each.message(message_id)) is not None), None)

    names = {name: message(ids.derive(SOURCE, name)) for name in batch.messages_named()}
    names |= {each.message_id: message(each.message_id) for each in batch.receipts if each.message_id is not None}
    return Known(
        source_id=SOURCE,
        channels={name: CHANNELS[name] for name in batch.channels() if name in CHANNELS},
        conversations={name: found for name in batch.conversations() if (found := conversation(name)) is not None},
        messages={name: found for name, found in names.items() if found is not None},
    )


def taken(folded: ReferenceFold, batch: Batch, request: str) -> bool:
    try:
        facts = facts_of(batch, known(folded, batch), now_ms=NOW_MS, cause=request)
    except Refused as refused:
        assert FIELD.fullmatch(refused.field or ""), refused.field
        return False
    folded.fold_all(facts)
    return True


@given(batches=st.lists(BATCHES, min_size=1, max_size=4))
@settings(deadline=None)
def test_every_batch_is_taken_whole_or_refused_with_its_field_and_repeating_it_changes_nothing(
    batches: list[Batch],
) -> None:
    """X-1."""
    folded = ReferenceFold()
    for number, batch in enumerate(batches):
        at_once = [known(folded, batch)] * 2  # two requests that read the store before either wrote
        if not taken(folded, batch, f"request {number}"):
            continue
        once, announced = folded.digest(), len(folded.changes)
        for again in at_once:
            folded.fold_all(facts_of(batch, again, now_ms=NOW_MS, cause=f"request {number} at once"))
        assert [change.kind for change in folded.changes[announced:] if change.kind == "message.created"] == []
        repeated = folded.digest()
        assert taken(folded, batch, f"request {number} again")
        assert folded.digest() == repeated
        assert once == repeated or batch.messages, "only an edit is made by each of the requests at once"
