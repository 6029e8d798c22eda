"""`FOLD_VERSION` is raised with every change of the fold: stores built by another fold would otherwise be kept.

`digests.json` holds the digest of one seeded log, changes included, for the current version.
"""

from pathlib import Path

import msgspec
from msgspec import Raw

from airy import topics
from airy.model.contact import KEY, Contact, ContactsWritten, ContactWrite
from airy.model.delivery_state import DeliveryState
from airy.model.entity import User
from airy.model.fact import KINDS, Fact
from airy.model.fold import FOLD_VERSION
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat, channel, dead, seeded_log, tag, template, webhook
from tests.kit.log import Log

RECORDED = Path(__file__).with_name("digests.json")


def every_kind() -> list[Fact]:
    """Facts of one conversation, each kind at least once."""
    chat, late = Chat(1_000), Chat(1_001)
    return [
        chat.received("in"),
        chat.reacted("in"),
        chat.edited("in", "corrected"),
        chat.profile("Ines"),
        chat.refetch(),
        chat.queued("a"),
        chat.started("a"),
        chat.succeeded("a", provider="a"),
        chat.receipt(DeliveryState.READ, "a"),
        chat.receipt(DeliveryState.DELIVERED, "a", pricing=Raw(b'{"category":"service"}')),
        chat.queued("b"),
        chat.started("b"),
        chat.failed("b"),
        chat.resend("b"),
        chat.started("b", 2),
        chat.unknown("b", 2),
        chat.echoed("b", ours="b"),
        chat.queued("d"),
        chat.started("d"),
        chat.failed("d", retry_at_ms=9_000),
        chat.cancel("d"),
        chat.resumed(),
        chat.revoked(),
        chat.deferred("e"),
        late.deferred("e"),
        late.received("in"),
        late.queued("e"),
        chat.metadata({"user_data.order": 1}),
        chat.tag_added("a-tag"),
        chat.tag_removed("a-tag"),
        chat.state_changed("OPEN"),
        chat.handover("pass", "an-app"),
        chat.identified("DE.9k2f", participant_id="+49", same_contact=late.conversation_id),
        chat.noted(),
        chat.read(),
        chat.received("gone"),
        chat.deleted("gone"),
    ]


def golden_log() -> Log:
    log = Log()
    story = seeded_log(7, facts=1_000)
    log.append(*story[:20], channel(), tag(), template(), webhook(), dead(1), dead(2), *story[20:])
    log.append(*every_kind(), tag(color="tag-blue"), channel(metadata={"name": "Bakery"}))
    ines = Contact(id="c", display_name="Ines", conversations={Chat(1_000).conversation_id: "facebook"})
    written = ContactsWritten(id="w", at_ms=1, writes=(ContactWrite(id="c", base=0, contact=ines),))
    log.append_record(topics.CONTACTS.record(KEY, written))
    log.append_record(topics.USERS.record("u", User(id="u", name="Jo")))
    log.remove(topics.DEAD_DELIVERIES, dead(1).id)
    return log


def test_the_log_has_every_kind_of_fact() -> None:
    assert {type(fact) for fact in every_kind()} == set(KINDS), "add the new kinds to `every_kind`"


async def test_the_fold_of_this_version_gives_the_recorded_digest() -> None:
    store = SqliteStore(":memory:")
    await store.open()
    applied = await store.apply(golden_log().records)
    digest = await store.digest(changes=True)
    await store.close()

    assert (applied.unprocessable, applied.held) == ([], {})
    recorded = msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, str])
    assert recorded == {str(FOLD_VERSION): digest}, (
        "the same log folds to another state. If that is meant, raise FOLD_VERSION in airy/model/fold.py, so that "
        f'every store is rebuilt, and record {{"{FOLD_VERSION + 1}": "…"}} in {RECORDED.name}'
    )
