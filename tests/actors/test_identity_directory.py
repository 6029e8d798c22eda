"""Names of participants, looked up while webhooks are routed: in virtual time over the real log and store.

The source of these tests has webhooks that say which names a contact has:
`{"names": ["+49", "DE.1"], "message": "m1"}`, and `replaced` for a name that these replaced.
"""

from collections.abc import Collection, Sequence
from random import Random

import anyio
import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.actors.channel_directory import ChannelDirectory
from airy.actors.fold_progress import wait_until_current
from airy.actors.projector import Projector
from airy.bus.record import Record
from airy.model import ids, metadata
from airy.model.fact import Fact, MessageReceived
from airy.model.identity import IdentityKey
from airy.secret import Secret
from airy.sources.api import Channels, Routed
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from airy.sources.identity import resolve
from airy.store.sqlite import SqliteStore
from tests.kit.harness import Harness

RAW = topics.source_events("facebook")
START_MS = 1_767_225_600_000


class Names(Facebook):
    spec = replace(Facebook.spec, identities=True)

    def identities(self, record: Record, channels: Channels) -> Collection[IdentityKey]:
        channel = channels.by_account("facebook", record.key.decode())
        said = msgspec.json.decode(record.value or b"")
        return [] if channel is None else [IdentityKey(channel.id, name) for name in _names(said)]

    def route(self, record: Record, channels: Channels) -> Routed:
        channel = channels.by_account("facebook", record.key.decode())
        assert channel is not None
        said = msgspec.json.decode(record.value or b"")
        who = resolve(channel, _names(said), channels)
        message_id = ids.message_id(channel.id, said["message"])
        received = MessageReceived(
            id=message_id,
            message_id=message_id,
            participant_id=said["names"][0],
            content=Raw(record.value or b""),
            **who.about(record.timestamp_ms, "test"),
        )
        answer_to = said["names"][0] if "replaced" in said else None
        return Routed([received, *who.facts(record.timestamp_ms, "test", answer_to=answer_to)], [], [])


def _names(said: dict[str, object]) -> list[str]:
    return [*([said["replaced"]] if "replaced" in said else []), *said["names"]]  # type: ignore[list-item, misc]


def said(message: str, *names: str, **more: str) -> bytes:
    return msgspec.json.encode({"names": names, "message": message, **more})


def harness_of_names() -> Harness:
    harness = Harness()
    section = FacebookSection(enabled=True, app_id="1", app_secret=(Secret("s"),), webhook_secret=Secret("v"))
    harness.source = Names(section)
    return harness


async def come(harness: Harness, *bodies: bytes) -> None:
    await harness.bus.publish([RAW.record(harness.channel.source_channel_id, body) for body in bodies])


async def conversations(harness: Harness, *messages: str) -> list[str]:
    """The conversation of each message, once all are stored."""
    found = []
    for message in messages:
        stored = await harness.until(ids.message_id(harness.channel.id, message), lambda _: True, within_s=60)
        found.append(stored.conversation_id)
    return found


async def test_a_contact_who_hides_a_name_stays_in_the_conversation() -> None:
    """Within one batch, and after it was folded."""
    harness = harness_of_names()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, said("m1", "+49", "DE.1"), said("m2", "DE.1"))
        await conversations(harness, "m1", "m2")
        await anyio.sleep(5)
        await come(harness, said("m3", "DE.1"), said("m4", "+49"))

        found = await conversations(harness, "m1", "m2", "m3", "m4")
        assert set(found) == {ids.conversation_id(harness.channel.id, "+49")}
        assert (await harness.store.counts())["conversations"] == 1


async def test_a_better_name_that_is_seen_later_is_answered_to_in_the_same_conversation() -> None:
    harness = harness_of_names()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, said("m1", "DE.1"), said("m2", "+49", "DE.1"), said("m3", "+49"))

        assert set(await conversations(harness, "m1", "m2", "m3")) == {ids.conversation_id(harness.channel.id, "DE.1")}
        view = await harness.store.conversation(ids.conversation_id(harness.channel.id, "DE.1"))
        assert view is not None
        assert view.conversation.participant_id == "+49"


async def test_a_name_that_is_replaced_keeps_its_conversation_and_the_new_one_is_answered_to() -> None:
    harness = harness_of_names()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, said("m1", "+49"), said("m2", "+50", replaced="+49"), said("m3", "+50"))

        assert set(await conversations(harness, "m1", "m2", "m3")) == {ids.conversation_id(harness.channel.id, "+49")}
        view = await harness.store.conversation(ids.conversation_id(harness.channel.id, "+49"))
        assert view is not None
        assert view.conversation.participant_id == "+50"


async def test_two_conversations_that_turn_out_to_be_one_contacts_are_linked_and_not_merged() -> None:
    harness = harness_of_names()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, said("m1", "+49"), said("m2", "DE.1"), said("m3", "+49", "DE.1"), said("m4", "DE.1"))

        first, second, third, fourth = await conversations(harness, "m1", "m2", "m3", "m4")
        assert (third, fourth) == (first, second)
        await anyio.sleep(1)
        for one, other in ((first, second), (second, first)):
            view = await harness.store.conversation(one)
            assert view is not None
            assert metadata.text(view.conversation.metadata, "source.same_contact") == other


async def test_the_next_router_knows_what_the_last_one_appended_and_did_not_commit() -> None:
    """The store of the next one lags, so it waits."""
    harness = harness_of_names()
    harness.faults.script("commit", "crash", times=3)
    async with harness.open(router=harness.router):
        await harness.connect()
        for number in range(5):
            await come(harness, said(f"a{number}", "+49", "DE.1"), said(f"b{number}", "DE.1"))
            await anyio.sleep(20)

        names = [f"{kind}{number}" for number in range(5) for kind in "ab"]
        assert set(await conversations(harness, *names)) == {ids.conversation_id(harness.channel.id, "+49")}


@pytest.mark.parametrize("seed", range(40))
async def test_a_webhook_that_is_routed_again_leads_to_the_same_conversations(seed: int) -> None:
    """From any point on, by a reader that knows nothing but the store, which has folded everything."""
    random, harness = Random(seed), harness_of_names()
    records = records_of(random)
    async with harness.open():
        await harness.connect()
        first = await routed(harness, records)
        again = await routed(harness, records[random.randrange(len(records)) :])
        assert (await harness.store.counts())["messages"] == len(records)

    assert again == {name: conversation for name, conversation in first.items() if name in again}


@pytest.mark.parametrize("seed", range(20))
async def test_two_processes_that_take_turns_route_like_one(seed: int) -> None:
    """Each with its own store, which lags; batches go to one or the other, as after a rebalance."""
    random, one, two = Random(seed), harness_of_names(), harness_of_names()
    records = records_of(random)
    async with one.open():
        await one.connect()
        alone = await routed(one, records)
    store, found = SqliteStore(":memory:"), dict[str, str]()
    projector = Projector(two.bus, store)
    await store.open()
    async with two.open(projector=lambda: projector):
        await two.connect()
        await wait_until_current(two.bus, projector, [topics.CHANNELS], 60)
        processes = [
            ChannelDirectory(two.bus, two.store, two.projector, now_ms=two.clock.now_ms),
            ChannelDirectory(two.bus, store, projector, now_ms=two.clock.now_ms),
        ]
        readers = [(each, each.identities()) for each in processes]
        for record in records:
            channels, directory = random.choice(readers)
            lookup = await directory.prepare(two.source, [record], await channels.refresh())
            facts = two.source.route(record, lookup).facts
            directory.learn(facts)
            found |= {fact.message_id: fact.conversation_id for fact in facts if isinstance(fact, MessageReceived)}
            await two.bus.publish([topics.EVENTS.record(fact.conversation_id, fact) for fact in facts])
        for each in (two.projector, projector):
            assert await wait_until_current(two.bus, each, topics.FOLDED, 60)
        assert await store.digest() == await two.store.digest()
    await store.close()
    assert found == {ids.message_id(two.channel.id, name): conversation for name, conversation in alone.items()}


def records_of(random: Random) -> list[Record]:
    """Webhooks of contacts whose names overlap and are replaced."""
    account = Harness().channel.source_channel_id.encode()
    bodies = []
    for number in range(12):
        names = random.sample(["+49", "+50", "DE.1", "DE.2"], random.randint(1, 2))
        more = {"replaced": random.choice(["+49", "DE.1"])} if random.random() < 0.2 else {}
        bodies.append(said(f"m{number}", *[name for name in names if name not in more.values()] or ["x"], **more))
    return [Record(RAW.name, 0, offset, account, body, (), START_MS + offset) for offset, body in enumerate(bodies)]


async def routed(harness: Harness, records: Sequence[Record]) -> dict[str, str]:
    """The conversation of each message; in batches of three, what they append folded a batch later."""
    directory, found, waiting = harness.directory.identities(), dict[str, str](), list[Fact]()
    for start in range(0, len(records), 3):
        batch, channels = records[start : start + 3], await harness.directory.refresh()
        lookup = await directory.prepare(harness.source, batch, channels)
        await harness.append(*waiting)
        waiting = []
        for record in batch:
            facts = harness.source.route(record, lookup).facts
            directory.learn(facts)
            waiting += facts
    await harness.append(*waiting)
    for record in records:
        message = msgspec.json.decode(record.value or b"")["message"]
        stored = await harness.store.message(ids.message_id(harness.channel.id, message))
        assert stored is not None
        found[message] = stored.conversation_id
    return found
