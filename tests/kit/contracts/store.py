"""What every store does, R-1 to R-5. An engine inherits the classes and says how it is opened.

The oracle is the reference fold over dictionaries in `tests/kit/fold.py`: whatever a store answers about a log, the
reference knows too. Nothing here looks behind the protocol.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from random import Random
from typing import cast

import msgspec
import pytest

from airy import topics
from airy.bus.record import TopicPartition
from airy.errors import Refused
from airy.model import ids
from airy.model.change import Change, ChangeKind
from airy.model.conversation import Conversation, Message
from airy.model.delivery import Delivery
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.store.api import ConversationView, Page, Published, Store, Work
from tests.kit.builders import START_MS, Chat, channel, seeded_log, tag, template, webhook
from tests.kit.fold import Reference, fold_all
from tests.kit.log import Log, cut

EVERY_PARTITION = range(topics.EVENT_PARTITIONS)
SEEDS = range(5)
NOTHING_YET = (-1, -1)
FAR_MS = START_MS * 2


def facts_of(log: Log) -> list[Fact]:
    decoded = (topics.EVENTS.decode(record) for record in log.records if record.topic == topics.EVENTS.name)
    return [fact for fact in decoded if fact is not None]


def seeded(seed: int, *, facts: int = 300, conversations: int = 12, gap: int = 0) -> Log:
    """A plausible log with its channel somewhere near the start."""
    log = Log(gap=gap)
    story = seeded_log(seed, facts=facts, conversations=conversations)
    log.append(*story[:20], channel(), *story[20:])
    return log


def views(page: Page) -> list[ConversationView]:
    return cast("list[ConversationView]", page.items)


def listed(page: Page) -> list[str]:
    return [view.conversation.id for view in views(page)]


def message_ids(page: Page) -> list[str]:
    return [message.id for message in cast("list[Message]", page.items)]


async def all_changes(store: Store, wheres: Iterable[TopicPartition] = topics.EVENTS.where) -> list[Published]:
    found: list[Published] = []
    for where in wheres:
        found += await store.changes(where, after=NOTHING_YET, changes_max=100_000)
    return found


async def everything(store: Store, log: Log) -> list[object]:
    """All a store answers about a log, in one value."""
    names = sorted({fact.conversation_id for fact in facts_of(log)})
    return [
        [await store.conversation(name) for name in names],
        [await store.messages(name, cursor=None, page_size=500) for name in names],
        await store.conversations(filters=None, cursor=None, page_size=500),
        await all_changes(store),
        await open_work(store, "facebook"),
        await store.channels(connected_only=False),
        await store.counts(),
        await store.positions(),
    ]


async def open_work(store: Store, source: str, *, due_until_ms: int = FAR_MS) -> list[Work]:
    return await store.work(
        "send", source, partitions=EVERY_PARTITION, due_until_ms=due_until_ms, work_max=1000
    ) + await store.work("profile", source, partitions=EVERY_PARTITION, due_until_ms=due_until_ms, work_max=1000)


def reference_list(reference: Reference) -> list[Conversation]:
    """What the fold says is there, newest activity first; ties in any order the store likes."""
    found = [state.conversation() for state in reference.states.values()]
    return [conversation for conversation in found if conversation is not None and conversation.visible]


def reference_messages(reference: Reference, conversation_id: str) -> list[Message]:
    there = [message for message in reference.state(conversation_id).messages() if not message.deleted]
    return sorted(there, key=lambda message: (-message.sent_at_ms, message.id))


class StoreBasics(ABC):
    """How an engine is had. `persistent`: a store outlives its `close`."""

    persistent = True

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Store]:
        """An open store with nothing in it."""

    async def filled(self, store: Store, log: Log, *, batch: int = 50) -> Store:
        for start in range(0, len(log.records), batch):
            applied = await store.apply(log.records[start : start + batch])
            assert applied.bad == []
        return store


class FoldingContract(StoreBasics):
    """R-1 to R-4."""

    @pytest.mark.parametrize("number", SEEDS)
    async def test_what_a_store_answers_is_what_the_fold_says(self, number: int) -> None:
        log = seeded(number)
        reference = fold_all(facts_of(log))
        async with self.opened() as store:
            for batch in cut(log.records, Random(number)):
                await store.apply(batch)
            conversations = reference_list(reference)
            page = await store.conversations(filters=None, cursor=None, page_size=500)
            assert page.total == len(conversations)
            assert {view.conversation.id: view.conversation for view in views(page)} == {
                conversation.id: conversation for conversation in conversations
            }
            times = [view.conversation.last_message_at_ms for view in views(page)]
            assert times == sorted(times, reverse=True)
            for conversation in conversations:
                messages = reference_messages(reference, conversation.id)
                listed_ = await store.messages(conversation.id, cursor=None, page_size=500)
                assert listed_.items == messages
                assert listed_.total == len(messages)
                for message in reference.state(conversation.id).messages():
                    assert await store.message(message.id) == message
            assert [published.change for published in await all_changes(store)] == by_partition(reference)

    @pytest.mark.parametrize("number", SEEDS)
    async def test_any_cut_into_batches_gives_the_same(self, number: int) -> None:
        log, random = seeded(number), Random(number)
        digests, answers = set(), []
        for longest in (1, 7, 500):
            async with self.opened() as store:
                for batch in cut(log.records, random, longest=longest):
                    await store.apply(batch)
                digests.add(await digest_of(store))
                answers.append(await everything(store, log))
        assert len(digests) == 1
        assert answers[0] == answers[1] == answers[2]

    async def test_any_order_among_partitions_gives_the_same(self) -> None:
        log = seeded(3)
        digests, answers = set(), []
        for number in range(4):
            async with self.opened() as store:
                for batch in cut(log.interleaved(Random(number)), Random(number)):
                    await store.apply(batch)
                digests.add(await digest_of(store))
                answers.append(await everything(store, log))
        assert len(digests) == 1
        assert all(answer == answers[0] for answer in answers)

    async def test_records_told_again_change_nothing(self) -> None:
        log, random = seeded(4), Random(4)
        async with self.opened() as store:
            await self.filled(store, log)
            before = await everything(store, log), await digest_of(store)
            for _ in range(20):
                start = random.randrange(len(log.records))
                applied = await store.apply(log.records[start : start + 60])
                assert (applied.facts, applied.changes, applied.bad) == (0, 0, [])
            assert (await everything(store, log), await digest_of(store)) == before

    async def test_a_batch_that_overlaps_what_is_known_adds_the_rest(self) -> None:
        log = seeded(5)
        half = len(log.records) // 2
        async with self.opened() as once, self.opened() as twice:
            await once.apply(log.records)
            await twice.apply(log.records[:half])
            await twice.apply(log.records[half - 40 :])
            assert await digest_of(once) == await digest_of(twice)

    async def test_positions_are_the_next_offsets_also_across_gaps(self) -> None:
        log = seeded(6, gap=3)
        ends = {record.where: record.offset + 1 for record in log.records}
        async with self.opened() as store:
            assert await store.positions() == {}
            await self.filled(store, log)
            assert await store.positions() == ends

    async def test_a_closed_store_goes_on_where_it_was(self) -> None:
        if not self.persistent:
            pytest.skip("it keeps nothing when it is closed")
        log, random = seeded(7), Random(7)
        async with self.opened() as whole, self.opened() as often:
            await whole.apply(log.records)
            for batch in cut(log.records, random, longest=60):
                await often.apply(batch)
                before = await digest_of(often), await often.positions(), await often.counts()
                await often.close()
                await often.open()
                assert (await digest_of(often), await often.positions(), await often.counts()) == before
            assert await everything(often, log) == await everything(whole, log)

    async def test_a_wiped_store_knows_nothing_and_folds_to_the_same(self) -> None:
        log = seeded(8)
        log.append(tag(), template(), webhook())
        async with self.opened() as empty, self.opened() as store:
            await self.filled(store, log)
            before = await everything(store, log), await digest_of(store)
            await store.wipe()
            assert await digest_of(store) == await digest_of(empty)
            assert await everything(store, log) == await everything(empty, log)
            await self.filled(store, log, batch=33)
            assert (await everything(store, log), await digest_of(store)) == before

    async def test_the_digest_tells_stores_apart(self) -> None:
        chat = Chat()
        common = [channel(), chat.received("a"), chat.queued("x")]
        seen = set()
        for last in (
            chat.read(),
            chat.tag_added("t"),
            chat.started("x"),
            chat.edited("a", "corrected"),
            chat.received("b"),
        ):
            log = Log()
            log.append(*common, last)
            async with self.opened() as store:
                await self.filled(store, log)
                seen.add(await store.digest())
        assert len(seen) == 5

    # --- records that are no good

    async def test_what_cannot_be_decoded_is_reported_and_the_rest_goes_on(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"))
        wrong = [
            log.raw(topics.EVENTS, chat.conversation_id, b'{"kind":"message.received"}'),
            log.raw(topics.EVENTS, chat.conversation_id, b'{"kind":"message.invented","id":"1"}'),
            log.raw(topics.EVENTS, chat.conversation_id, b"\xff\xfe"),
            log.raw(topics.EVENTS, chat.conversation_id, None),
            log.raw(topics.CHANNELS, "some-channel", b'{"id":7}'),
            log.raw(
                topics.CHANNELS, "some-channel", b'{"id":"other","source":"s","source_channel_id":"c","connected":true}'
            ),
        ]
        log.append(chat.received("b"))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert [record for record, _ in applied.bad] == wrong
            assert all(reason for _, reason in applied.bad)
            assert applied.facts == 2
            assert await store.positions() == {record.where: record.offset + 1 for record in log.records}
            assert (await store.messages(chat.conversation_id, cursor=None, page_size=10)).total == 2

    async def test_a_fact_no_store_can_hold_harms_nobody_else(self) -> None:
        """Its time is beyond 64 bits: the fold takes it, no database does."""
        log, good, bad, other = Log(), Log(), Chat(0), Chat(1)
        poison = bad.received("poison", at_ms=1 << 70)
        story = [channel(), bad.received("a"), other.received("a"), bad.queued("x")]
        rest = [bad.started("x"), other.queued("x"), bad.received("b"), bad.read()]
        log.append(*story, poison, *rest)
        good.append(*story, *rest)
        async with self.opened() as store, self.opened() as clean:
            applied = await store.apply(log.records)
            assert [record for record, _ in applied.bad] == [log.records[len(story)]]
            assert applied.facts == len(story) - 1 + len(rest)
            await self.filled(clean, good)
            assert await store.digest() == await clean.digest()
            assert await store.counts() == await clean.counts()
            assert await store.positions() == {record.where: record.offset + 1 for record in log.records}

    async def test_records_of_other_topics_are_a_mistake_of_the_caller(self) -> None:
        log = Log()
        async with self.opened() as store:
            with pytest.raises(ValueError, match=r"ops\.webhooks\.attempts"):
                await store.apply([log.raw(topics.ATTEMPTS, "a", b"{}")])

    # --- channels and conversations

    async def test_a_conversation_appears_with_its_channel(self) -> None:
        log, chat = Log(), Chat()
        known = channel()
        async with self.opened() as store:
            await store.apply(log.append(chat.received("a")))
            assert await self.shown(store, chat) == (False, 0)
            await store.apply(log.append(known))
            assert await self.shown(store, chat) == (True, 1)
            await store.apply(log.append(channel(connected=False)))
            assert await self.shown(store, chat) == (True, 1)
            view = await store.conversation(chat.conversation_id)
            assert view is not None
            assert view.channel.connected is False
            await store.apply([log.remove(topics.CHANNELS, known.id)])
            assert await self.shown(store, chat) == (False, 0)
            assert (await store.counts())["channels"] == 0
            await store.apply(log.append(chat.received("b")))
            assert await self.shown(store, chat) == (False, 0)
            await store.apply(log.append(known, chat.received("c")))
            assert await self.shown(store, chat) == (True, 1)

    async def shown(self, store: Store, chat: Chat) -> tuple[bool, int]:
        page = await store.conversations(filters=None, cursor=None, page_size=10)
        filtered = await store.conversations(filters="id:*", cursor=None, page_size=10)
        assert listed(page) == listed(filtered)
        assert page.total == len(page.items) == filtered.total == (await store.counts())["conversations"]
        there = await store.conversation(chat.conversation_id) is not None
        assert there == (chat.conversation_id in listed(page))
        return there, page.total

    async def test_news_about_messages_nobody_saw_is_no_conversation(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.receipt(Delivery.READ, "x"), chat.read())
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.shown(store, chat) == (False, 0)
            await store.apply(log.append(chat.received("a")))
            assert await self.shown(store, chat) == (True, 1)

    async def test_the_last_message_follows_edits_and_deletions(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"), chat.received("b"), chat.received("old", at_ms=START_MS))
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.last(store, chat) == chat.inbound_id("b")
            await store.apply(log.append(chat.deleted("b")))
            assert await self.last(store, chat) == chat.inbound_id("a")
            await store.apply(log.append(chat.deleted("a"), chat.deleted("old")))
            assert await self.last(store, chat) is None
            assert (await store.counts())["messages"] == 0

    async def last(self, store: Store, chat: Chat) -> str | None:
        view = await store.conversation(chat.conversation_id)
        assert view is not None
        return view.last_message.id if view.last_message else None

    async def test_one_message_id_in_two_conversations_is_two_messages(self) -> None:
        log, one, two = Log(), Chat(1), Chat(2)
        log.append(channel(), one.received("a"), two.received("a"))
        first = one.queued("x")
        log.append(first, msgspec.structs.replace(two.queued("x"), message_id=first.message_id))
        async with self.opened() as store:
            await self.filled(store, log)
            for chat in (one, two):
                page = await store.messages(chat.conversation_id, cursor=None, page_size=10)
                assert message_ids(page) == [first.message_id, chat.inbound_id("a")]

    async def test_ids_need_not_be_uuids(self) -> None:
        log = Log()
        chat = Chat()
        chat.conversation_id = "not a uuid"
        log.append(channel(), chat.received("a", fact_id="fact"), chat.queued("x", fact_id="another"))
        async with self.opened() as store:
            await self.filled(store, log)
            assert listed(await store.conversations(filters=None, cursor=None, page_size=5)) == ["not a uuid"]
            assert await store.accepted("not a uuid", "another")


async def digest_of(store: Store) -> str:
    return await store.digest(changes=True)


def by_partition(reference: Reference) -> list[Change]:
    """The reference's changes as a store gives them: partition by partition."""
    lanes: dict[int, list[Change]] = {}
    for change in reference.changes:
        lanes.setdefault(topics.EVENTS.partition(change.lane), []).append(change)
    return [change for partition in sorted(lanes) for change in lanes[partition]]


class ActingContract(StoreBasics):
    """Changes by position, and open work."""

    async def test_changes_are_read_by_position_in_pages_of_any_size(self) -> None:
        log = seeded(11)
        reference = fold_all(facts_of(log))
        async with self.opened() as store:
            for batch in cut(log.records, Random(11), longest=100):
                await store.apply(batch)
            for changes_max in (1, 2, 7, 1000):
                found: list[Published] = []
                for where in topics.EVENTS.where:
                    found += await self.walked(store, where, changes_max)
                assert [published.change for published in found] == by_partition(reference)
            positions = {(record.position, record.offset) for record in log.records}
            assert all((published.position, published.position.offset) in positions for published in found)

    async def walked(self, store: Store, where: TopicPartition, changes_max: int) -> list[Published]:
        found: list[Published] = []
        after = NOTHING_YET
        while page := await store.changes(where, after=after, changes_max=changes_max):
            assert len(page) <= changes_max
            found += page
            after = (page[-1].position.offset, page[-1].nth)
        order = [(published.position.offset, published.nth) for published in found]
        assert order == sorted(set(order))
        return found

    async def test_changes_carry_the_position_of_their_fact(self) -> None:
        log, chat = Log(gap=2), Chat()
        log.append(channel(), chat.received("a"), chat.received("a"), chat.received("b"))
        async with self.opened() as store:
            await self.filled(store, log)
            found = await store.changes(log.records[1].where, after=NOTHING_YET, changes_max=100)
            positions = list(dict.fromkeys(published.position for published in found))
            assert positions == [log.records[1].position, log.records[3].position]
            later = await store.changes(log.records[1].where, after=(log.records[1].offset, 0), changes_max=100)
            assert later == found[1:]

    async def test_forgotten_changes_are_gone_and_the_rest_stays(self) -> None:
        log, random = seeded(12), Random(12)
        async with self.opened() as store:
            await self.filled(store, log)
            everything_ = await all_changes(store)
            state = await store.digest()
            below = {where: random.randrange(0, 40) for where in topics.EVENTS.where}
            kept = [
                published for published in everything_ if published.position.offset >= below[published.position.where]
            ]
            assert await store.forget_changes(below) == len(everything_) - len(kept)
            assert await all_changes(store) == kept
            assert (await store.counts())["changes"] == len(kept) + 1  # the channel's
            assert await store.forget_changes(below) == 0
            assert await store.digest() == state
            await store.apply(log.append(Chat(0).received("later")))
            assert len(await all_changes(store)) > len(kept)

    async def test_entities_announce_themselves_under_their_records(self) -> None:
        log = Log()
        one, other = channel(), channel("facebook", "another-page")
        log.append(one, other, channel(connected=False), tag(), tag(color="tag-blue"), template(), webhook())
        async with self.opened() as store:
            await self.filled(store, log)
            wheres = (*topics.CHANNELS.where, *topics.TAGS.where, *topics.TEMPLATES.where, *topics.WEBHOOKS.where)
            found = await all_changes(store, wheres)
            expected = [record.position for record in log.records[:5]]
            assert sorted(published.position for published in found) == sorted(expected)
            kinds = {published.position: published.change.kind for published in found}
            assert [kinds[position] for position in expected] == [ChangeKind.CHANNEL_UPDATED] * 3 + [
                ChangeKind.TAG_UPDATED
            ] * 2
            sequences = [published.change.sequence for published in found if published.change.lane == one.id]
            assert sequences == sorted(set(sequences))
            assert len({published.change.id for published in found}) == len(found)

    async def test_a_removed_entity_announces_nothing(self) -> None:
        log = Log()
        log.append(tag())
        log.remove(topics.TAGS, tag().id)
        async with self.opened() as store:
            await self.filled(store, log)
            assert len(await all_changes(store, topics.TAGS.where)) == 1
            assert await store.tags() == []

    @pytest.mark.parametrize("number", SEEDS)
    async def test_open_work_follows_from_the_state(self, number: int) -> None:
        log, random = seeded(number, facts=150, conversations=5), Random(number)
        reference = Reference()
        async with self.opened() as store:
            for batch in cut(log.records, random, longest=5):
                await store.apply(batch)
                part = Log()
                part.records.extend(batch)
                reference.fold_all(facts_of(part))
                at_ms = random.choice([0, START_MS + random.randrange(300_000), FAR_MS])
                sends = await store.work(
                    "send", "facebook", partitions=EVERY_PARTITION, due_until_ms=at_ms, work_max=1000
                )
                assert {work.message_id for work in sends} == to_send(reference, at_ms)
                profiles = await store.work(
                    "profile", "facebook", partitions=EVERY_PARTITION, due_until_ms=at_ms, work_max=1000
                )
                if await store.channels():
                    assert {work.conversation_id for work in profiles} == to_resolve(reference)

    async def test_messages_are_sent_one_after_the_other(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"), chat.queued("x"), chat.queued("y"), chat.queued("z"))
        x, y, z = chat.outbound_id("x"), chat.outbound_id("y"), chat.outbound_id("z")
        later = chat.now_ms + 60_000
        async with self.opened() as store:

            async def due(*more: Fact, at_ms: int = chat.now_ms) -> list[tuple[str | None, str]]:
                await store.apply(log.append(*more))
                found = await store.work(
                    "send", "facebook", partitions=EVERY_PARTITION, due_until_ms=at_ms, work_max=10
                )
                return [(work.message_id, work.state) for work in found]

            await self.filled(store, log)
            assert await due() == [(x, "pending")]
            assert await due(chat.started("x")) == [(x, "sending")]
            assert await due(chat.failed("x", retry_at_ms=later)) == []  # and y does not overtake it
            assert await due(at_ms=later) == [(x, "pending")]
            assert await due(chat.started("x", 2), chat.unknown("x", 2)) == [(y, "pending")]  # unknown holds nobody up
            assert await due(chat.started("y"), chat.failed("y")) == [(z, "pending")]
            assert await due(chat.resend("y")) == [(y, "pending")]
            assert await due(chat.started("y", 3), chat.succeeded("y", 3, provider="y")) == [(z, "pending")]
            assert await due(chat.started("z"), chat.succeeded("z", provider="z")) == []
            counts = await store.counts()
            assert (counts["send_pending"], counts["send_unknown"]) == (0, 1)
            assert await due(chat.echoed("x", ours="x")) == []
            assert (await store.counts())["send_unknown"] == 0

    async def test_work_says_whose_it_is(self) -> None:
        log, chat, foreign = Log(), Chat(1), Chat(2, source="twilio.sms", source_channel_id="+1")
        log.append(channel(), channel("twilio.sms", "+1"), chat.received("a"), chat.queued("x"))
        log.append(foreign.received("a"), foreign.queued("x"))
        partition = topics.EVENTS.partition(chat.conversation_id)
        async with self.opened() as store:
            await self.filled(store, log)
            (work,) = await store.work("send", "facebook", partitions=[partition], due_until_ms=FAR_MS, work_max=10)
            assert work == Work(
                "send",
                "facebook",
                partition,
                chat.conversation_id,
                chat.outbound_id("x"),
                0,
                "pending",
                chat.channel_id,
            )
            others = [number for number in EVERY_PARTITION if number != partition]
            assert await store.work("send", "facebook", partitions=others, due_until_ms=FAR_MS, work_max=10) == []
            assert await store.work("send", "facebook", partitions=[], due_until_ms=FAR_MS, work_max=10) == []
            (profile,) = await store.work(
                "profile", "facebook", partitions=[partition], due_until_ms=FAR_MS, work_max=10
            )
            assert (profile.conversation_id, profile.channel_id, profile.message_id) == (
                chat.conversation_id,
                chat.channel_id,
                None,
            )

    async def test_the_soonest_due_comes_first_and_no_more_than_asked_for(self) -> None:
        log = Log()
        log.append(channel())
        chats = [Chat(number) for number in range(6)]
        for number, chat in enumerate(chats):
            retry_at_ms = START_MS + (60 - 10 * number) * 60_000
            log.append(
                chat.received("a"), chat.queued("x"), chat.started("x"), chat.failed("x", retry_at_ms=retry_at_ms)
            )
        async with self.opened() as store:
            await self.filled(store, log)
            found = await store.work("send", "facebook", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=3)
            assert [work.conversation_id for work in found] == [chat.conversation_id for chat in reversed(chats)][:3]
            assert [work.due_ms for work in found] == [START_MS + minutes * 60_000 for minutes in (10, 20, 30)]

    async def test_a_profile_is_wanted_until_somebody_looked(self) -> None:
        log, chat = Log(), Chat()
        async with self.opened() as store:

            async def wanted(*more: Fact | Channel) -> bool:
                await store.apply(log.append(*more))
                found = await store.work(
                    "profile", "facebook", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=10
                )
                return [work.conversation_id for work in found] == [chat.conversation_id]

            assert not await wanted(channel(), chat.echoed("x"))
            assert await wanted(chat.received("a"))
            assert not await wanted(chat.profile("Ines Kuhn"))
            assert not await wanted(chat.received("b"))
            assert await wanted(chat.refetch())
            assert not await wanted(channel(connected=False))  # nobody may ask any more
            assert await wanted(channel())
            assert not await wanted(chat.profile(found=False))

    async def test_it_says_whether_a_fact_was_accepted(self) -> None:
        log, chat = Log(), Chat()
        queued, refused = chat.queued("x"), chat.succeeded("x", 5)
        log.append(channel(), chat.received("a"), queued, refused)
        async with self.opened() as store:
            assert not await store.accepted(chat.conversation_id, queued.id)
            await self.filled(store, log)
            assert await store.accepted(chat.conversation_id, queued.id)
            assert not await store.accepted(chat.conversation_id, refused.id)
            assert not await store.accepted(chat.conversation_id, "never written")
            assert not await store.accepted("nowhere", queued.id)


def to_send(reference: Reference, until_ms: int) -> set[str]:
    """By the rule: the oldest message of a conversation that is pending or sending, if it is due."""
    found = set()
    for state in reference.states.values():
        waiting = [m for m in state.messages() if m.delivery in {Delivery.PENDING, Delivery.SENDING} and not m.deleted]
        if waiting and (waiting[0].delivery is Delivery.SENDING or waiting[0].retry_at_ms <= until_ms):
            found.add(waiting[0].id)
    return found


def to_resolve(reference: Reference) -> set[str]:
    found = set()
    for name, state in reference.states.items():
        conversation = state.conversation()
        asked = conversation is not None and "contact.fetch_state" in conversation.metadata
        if conversation and not asked and any(message.from_contact for message in state.messages()):
            found.add(name)
    return found


Listing = Callable[..., Awaitable[Page]]


class AskingContract(StoreBasics):
    """R-5: pages, filters, entities."""

    # --- conversations.list

    @pytest.mark.parametrize("size", [1, 3, 7, 20, 500])
    @pytest.mark.parametrize("filters", [None, "id:*", "unread_count:[1 TO *]", "display_name:*acebo*"])
    async def test_pages_follow_each_other_without_gap_or_repeat(self, filters: str | None, size: int) -> None:
        log = crowd(20)
        async with self.opened() as store:
            await self.filled(store, log)
            whole = listed(await store.conversations(filters=filters, cursor=None, page_size=500))
            assert len(whole) == 20
            pages = [await store.conversations(filters=filters, cursor=None, page_size=size)]
            while pages[-1].next_cursor:
                pages.append(await store.conversations(filters=filters, cursor=pages[-1].next_cursor, page_size=size))
            assert [name for page in pages for name in listed(page)] == whole
            assert {page.total for page in pages} == {20}
            assert all(page.complete for page in pages)
            assert pages[0].previous_cursor is None
            for page, after in pairwise(pages):
                back = await store.conversations(filters=filters, cursor=after.previous_cursor, page_size=size)
                assert listed(back) == listed(page)

    @pytest.mark.parametrize("filters", [None, "source:facebook"])
    async def test_conversations_that_rest_are_seen_once_while_others_move(self, filters: str | None) -> None:
        chats = [Chat(number) for number in range(20)]
        log = crowd(20)
        random = Random(2)
        async with self.opened() as store:
            await self.filled(store, log)
            resting = set(listed(await store.conversations(filters=filters, cursor=None, page_size=500)))
            seen: list[str] = []
            cursor = None
            for step in range(100):
                page = await store.conversations(filters=filters, cursor=cursor, page_size=3)
                seen += listed(page)
                cursor = page.next_cursor
                if cursor is None:
                    break
                mover = random.choice(chats)
                resting.discard(mover.conversation_id)
                await store.apply(log.append(mover.received(f"again {step}", at_ms=FAR_MS + step)))
            assert cursor is None
            assert len(seen) == len(set(seen))
            assert resting <= set(seen)

    async def test_a_page_before_the_cursor_shows_what_came_on_top(self) -> None:
        log = crowd(10)
        async with self.opened() as store:
            await self.filled(store, log)
            first = await store.conversations(filters=None, cursor=None, page_size=5)
            second = await store.conversations(filters=None, cursor=first.next_cursor, page_size=5)
            await store.apply(log.append(Chat(99).received("new", at_ms=FAR_MS)))
            back = await store.conversations(filters=None, cursor=second.previous_cursor, page_size=5)
            assert listed(back) == listed(first)
            top = await store.conversations(filters=None, cursor=back.previous_cursor, page_size=5)
            assert listed(top)[0] == Chat(99).conversation_id

    @pytest.mark.parametrize("filters", [None, "id:*"])
    async def test_numbers_are_still_cursors(self, filters: str | None) -> None:
        log = crowd(5)
        async with self.opened() as store:
            await self.filled(store, log)
            whole = listed(await store.conversations(filters=filters, cursor=None, page_size=10))

            async def at(cursor: str) -> tuple[list[str], str | None, str | None, int]:
                page = await store.conversations(filters=filters, cursor=cursor, page_size=2)
                return listed(page), page.previous_cursor, page.next_cursor, page.total

            assert await at("0") == (whole[0:2], None, "2", 5)
            assert await at("1") == (whole[1:3], "0", "3", 5)
            assert await at("3") == (whole[3:5], "1", None, 5)
            assert await at("5") == ([], "3", None, 5)
            assert await at("999999999999") == ([], "999999999997", None, 5)

    @pytest.mark.parametrize("size", [0, -3, None])
    async def test_a_senseless_page_size_means_twenty(self, size: int | None) -> None:
        async with self.opened() as store:
            await self.filled(store, crowd(25))
            assert len((await store.conversations(filters=None, cursor=None, page_size=size)).items) == 20  # type: ignore[arg-type]

    async def test_page_sizes_are_bounded(self) -> None:
        async with self.opened() as store:
            await self.filled(store, crowd(510), batch=600)
            assert len((await store.conversations(filters=None, cursor=None, page_size=10_000)).items) == 500
            assert (await store.conversations(filters="id:*", cursor="", page_size=10_000)).total == 510

    @pytest.mark.parametrize("cursor", ["abc", "-1", "1.5", "k", "kAAAA", "k====", "ü", "k" + "A" * 40, "9" * 40])
    async def test_what_is_no_cursor_is_refused(self, cursor: str) -> None:
        async with self.opened() as store:
            with pytest.raises(Refused) as refused:
                await store.conversations(filters=None, cursor=cursor, page_size=5)
            assert refused.value.field == "cursor"

    # --- messages.list

    async def test_messages_come_newest_first_and_ties_by_id(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"), *(chat.received(name, at_ms=FAR_MS) for name in "bcdef"))
        async with self.opened() as store:
            await self.filled(store, log)
            tied = sorted(chat.inbound_id(name) for name in "bcdef")
            page = await store.messages(chat.conversation_id, cursor=None, page_size=50)
            assert message_ids(page) == [*tied, chat.inbound_id("a")]

    @pytest.mark.parametrize(
        ("size", "start", "expected"),
        [
            (5, 15, (range(15, 20), 10, 20)),
            (10, None, (range(1, 11), None, 11)),
            (10, 30, (range(30, 34), 20, None)),
            (10, 3, (range(3, 13), None, 13)),  # fewer than a page before it
            (200, None, (range(1, 34), None, None)),
            (200, 15, (range(1, 34), None, None)),  # what fits on one page is one page
        ],
    )
    async def test_pages_of_messages(
        self, size: int, start: int | None, expected: tuple[range, int | None, int | None]
    ) -> None:
        """33 messages, numbered from the newest; cursors are the ids of first elements."""
        numbers, previous, following = expected
        log, chat = Log(), Chat()
        log.append(channel(), *(chat.received(number, at_ms=START_MS - number) for number in range(1, 34)))
        name = {chat.inbound_id(number): number for number in range(1, 34)}
        async with self.opened() as store:
            await self.filled(store, log)
            cursor = None if start is None else chat.inbound_id(start)
            page = await store.messages(chat.conversation_id, cursor=cursor, page_size=size)
            assert [name[message_id] for message_id in message_ids(page)] == list(numbers)
            assert (page.previous_cursor and name[page.previous_cursor]) == previous
            assert (page.next_cursor and name[page.next_cursor]) == following
            assert page.total == 33

    async def test_messages_can_be_walked_both_ways(self) -> None:
        log, chat, random = Log(), Chat(), Random(3)
        log.append(channel(), *(chat.received(n, at_ms=START_MS + random.randrange(12)) for n in range(33)))
        async with self.opened() as store:
            await self.filled(store, log)
            whole = message_ids(await store.messages(chat.conversation_id, cursor=None, page_size=100))
            forward, cursor = [], cast("str | None", None)
            while True:
                page = await store.messages(chat.conversation_id, cursor=cursor, page_size=4)
                forward.append(page)
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert [message_id for page in forward for message_id in message_ids(page)] == whole
            for before, page in pairwise(forward):
                back = await store.messages(chat.conversation_id, cursor=page.previous_cursor, page_size=4)
                assert message_ids(back) == message_ids(before)

    async def test_a_cursor_outlives_the_message_it_names(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), *(chat.received(number, at_ms=START_MS - number) for number in range(10)))
        async with self.opened() as store:
            await self.filled(store, log)
            await store.apply(log.append(chat.deleted(4)))
            page = await store.messages(chat.conversation_id, cursor=chat.inbound_id(4), page_size=3)
            assert message_ids(page) == [chat.inbound_id(number) for number in (5, 6, 7)]
            assert page.total == 9

    async def test_a_cursor_from_elsewhere_is_refused(self) -> None:
        log, chat, other = Log(), Chat(1), Chat(2)
        log.append(channel(), *(chat.received(number) for number in range(10)), other.received("a"))
        async with self.opened() as store:
            await self.filled(store, log)
            for cursor in (other.inbound_id("a"), "nonsense"):
                with pytest.raises(Refused) as refused:
                    await store.messages(chat.conversation_id, cursor=cursor, page_size=3)
                assert refused.value.field == "cursor"

    async def test_an_unknown_conversation_has_no_messages(self) -> None:
        async with self.opened() as store:
            assert await store.messages("nowhere", cursor=None, page_size=5) == Page([], None, None, 0)
            assert await store.message("nothing") is None
            assert await store.conversation("nowhere") is None

    async def test_ids_are_not_case_sensitive_when_asked_for(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), tag(), chat.received("a"))
        async with self.opened() as store:
            await self.filled(store, log)
            assert await store.conversation(chat.conversation_id.upper()) is not None
            assert await store.message(chat.inbound_id("a").upper()) is not None
            assert await store.channel(chat.channel_id.upper()) == channel()
            assert await store.tag(tag().id.upper()) == tag()
            assert (await store.messages(chat.conversation_id.upper(), cursor=None, page_size=5)).total == 1

    # --- entities

    async def test_entities_are_their_latest_record(self) -> None:
        log = Log()
        late = channel(connected=False)
        other = channel("twilio.sms", "+1")
        log.append(channel(), other, late, tag(), tag("Later"), tag(color="tag-blue"))
        log.append(template(), template("Bye"), template("Sms", "twilio.sms"), webhook())
        async with self.opened() as store:
            await self.filled(store, log)
            assert await store.channels() == [other]
            assert await store.channels(source="facebook") == []
            assert await store.channels(source="facebook", connected_only=False) == [late]
            assert await store.channel(late.id) == late
            assert await store.channel("nowhere") is None
            assert {one.id: one for one in await store.tags()} == {
                one.id: one for one in (tag(color="tag-blue"), tag("Later"))
            }
            assert {one.name for one in await store.templates("facebook")} == {"Hello", "Bye"}
            assert await store.template(template("Sms", "twilio.sms").id) == template("Sms", "twilio.sms")
            assert await store.webhooks() == [webhook()] == [await store.webhook(webhook().id)]
            for gone in (tag().id, tag("Later").id):
                await store.apply([log.remove(topics.TAGS, gone)])
            assert await store.tags() == []
            assert await store.tag(tag().id) is None

    async def test_counts(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), channel("twilio.sms", "+1"), chat.received("a"), chat.received("b"), chat.queued("x"))
        log.append(chat.queued("y"), chat.started("x"), chat.unknown("x"), chat.deleted("a"))
        async with self.opened() as store:
            await self.filled(store, log)
            counts = await store.counts()
            changes = len(await all_changes(store)) + 2
            assert counts == {
                "conversations": 1, "messages": 3, "channels": 2, "changes": changes, "send_pending": 1,
                "send_unknown": 1,
            }  # fmt: skip


def crowd(size: int) -> Log:
    """So many conversations of one channel, each with a message at a time of its own or its neighbour's."""
    log = Log()
    log.append(channel())
    for number in range(size):
        log.append(Chat(number).received("hello", at_ms=START_MS + number // 2 * 1000))
    return log


URGENT, LATER = ids.derive("tag", "Urgent"), ids.derive("tag", "Later")
GRACE, ADA, BOB, SMS, LOUD = (
    Chat(1), Chat(2), Chat(3), Chat(4, source="twilio.sms", source_channel_id="+1"), Chat(5),
)  # fmt: skip
PEOPLE = {"grace": GRACE, "ada": ADA, "bob": BOB, "sms": SMS, "loud": LOUD}


def people() -> Log:
    """Five conversations with something to filter by."""
    log = Log()
    log.append(channel(), channel("twilio.sms", "+1"))
    for chat in PEOPLE.values():
        log.append(chat.received("a", at_ms=START_MS + (5000 if chat is SMS else 0)))
    log.append(GRACE.metadata({"contact.display_name": "Grace Hopper"}), ADA.metadata({"contact.display_name": "Ada"}))
    log.append(
        BOB.metadata({"contact.display_name": "bob (sales) +49-30"}),
        LOUD.metadata({"contact.display_name": "JÖRG HÄGG"}),
    )
    log.append(GRACE.tag_added(URGENT), GRACE.tag_added(LATER), ADA.tag_added(URGENT), BOB.tag_added(LATER))
    log.append(BOB.tag_removed(LATER))
    log.append(GRACE.state_changed("CLOSED"), ADA.state_changed("open"), BOB.state_changed("On  Hold"))
    log.append(GRACE.received("b", at_ms=START_MS), *(SMS.received(n, at_ms=START_MS + 5000) for n in range(3)))
    log.append(
        ADA.read(), ADA.metadata({"user_data.erp.id": "abc", "user_data.age": 42, "user_data.note": "Likes Rye bread"})
    )
    return log


def filter_cases() -> list[tuple[str, str]]:
    closed = "id:* AND NOT metadata.state:CLOSED"
    grace, ada = GRACE.conversation_id, ADA.conversation_id
    return [
        # what the inbox writes
        ("unread_count:[1 TO *]", "grace bob sms loud"),
        ("unread_count:0", "ada"),
        ("display_name:*opp*", "grace"),
        ("display_name:*grace hop*", "grace"),
        ("display_name:*(sales*", "bob"),
        ("display_name:*(sales) +4*", "bob"),
        ("display_name:*sales) AND unread_count:[1 TO *]*", ""),
        ("display_name:**", "grace ada bob sms loud"),
        (f"tag_ids:({URGENT})", "grace ada"),
        (f"tag_ids:({URGENT} AND {LATER})", "grace"),
        (f"channel_id:({GRACE.channel_id} OR {SMS.channel_id})", "grace ada bob sms loud"),
        (f"channel_id:({SMS.channel_id})", "sms"),
        ("source:(facebook OR twilio.sms)", "grace ada bob sms loud"),
        ("source:(twilio.sms)", "sms"),
        (closed, "ada bob sms loud"),
        ("metadata.state:CLOSED", "grace"),
        (f"{closed} AND unread_count:[1 TO *] AND source:(facebook) AND display_name:*b*", "bob"),
        (f"unread_count:0 AND tag_ids:({URGENT}) AND {closed}", "ada"),
        (f"display_name:*hopper* AND tag_ids:({URGENT} AND {LATER}) AND channel_id:({GRACE.channel_id})", "grace"),
        # fields
        (f'id:"{grace.replace("-", chr(92) + "-")}"', "grace"),
        (f"id:{grace.upper()}", "grace"),
        (grace, "grace"),
        (f"{grace} {ada}", "grace ada"),
        (f"id:{grace[:13]}*", "grace"),
        (f"id:*{ada[-7:]}", "ada"),
        ("id:????????-*", "grace ada bob sms loud"),
        ("id:nothing", ""),
        ("source:TWILIO.SMS", "sms"),
        ("source:t*o.s?s", "sms"),
        ("source:nothing*", ""),
        ("display_name:Grace", "grace"),
        ("display_name:grace", "grace"),
        ("display_name:jörg", "loud"),
        ("display_name:HÄG?", "loud"),
        ("display_name:rac", ""),
        ("display_name:gra*", "grace"),
        ("display_name:*per", "grace"),
        ("display_name:g*e", "grace"),
        ("display_name:g*r", ""),  # not across words
        ("display_name:g?ace", "grace"),
        ('display_name:"grace hopper"', "grace"),
        ('display_name:"hopper grace"', ""),
        ('display_name:"+49-30"', "bob"),
        (r"display_name:\(sales\)", "bob"),
        (f"display_name:{SMS.conversation_id[31:]}", "sms"),
        ("display_name:sms", "sms"),
        ("display_name:*", "grace ada bob sms loud"),
        ("display_name:nobody", ""),
        (f"tag_ids:{LATER}", "grace"),
        ("tag_ids:*", "grace ada"),
        (f"tag_ids:{URGENT[:8]}*", "grace ada"),
        ("NOT tag_ids:*", ""),  # prohibitions alone match nothing
        ("id:* NOT tag_ids:*", "bob sms loud"),
        ("metadata.state:open", "ada"),
        ("metadata.state:*", "grace ada bob"),
        ('metadata.state:"on hold"', "bob"),
        ("metadata.state:on*", "bob"),
        ("metadata.user_data.erp.id:abc", "ada"),
        ("metadata.user_data.erp.id:*", "ada"),
        ("metadata.user_data.erp.id:ABC*", "ada"),
        ("metadata.user_data.age:42", "ada"),
        ('metadata.user_data.note:"rye bread"', "ada"),
        ("metadata.user_data.note:*ikes", "ada"),
        ("metadata.user_data.nothing:*", ""),
        ("metadata.contact.display_name:hopper", "grace"),
        ("metadata.unread_count:4", "sms"),
        # numbers
        ("unread_count:2", "grace"),
        ("unread_count:[2 TO *]", "grace sms"),
        ("unread_count:[* TO 1]", "ada bob loud"),
        ("unread_count:{1 TO 4]", "grace sms"),
        ("unread_count:{1 TO 4}", "grace"),
        ("unread_count:[2 TO 2]", "grace"),
        ("unread_count:>2", "sms"),
        ("unread_count:>=2", "grace sms"),
        ("unread_count:<1", "ada"),
        ("unread_count:*", "grace ada bob sms loud"),
        (f"created_at:{START_MS}", "grace ada bob loud"),
        (f"created_at:[{START_MS} TO {START_MS + 5000}]", "grace ada bob sms loud"),
        (f"created_at:{{{START_MS - 1} TO *]", "grace ada bob sms loud"),
        (f"created_at:[-5 TO {START_MS}]", "grace ada bob loud"),
        ("created_at:[9223372036854775807 TO *]", ""),
        ("created_at:{9223372036854775807 TO *]", ""),
        ("created_at:[* TO -9223372036854775808}", ""),
        (f"last_message_at:[{START_MS + 1} TO *]", "sms"),
        # operators
        ("display_name:ada OR display_name:grace", "grace ada"),
        ("display_name:ada display_name:grace", "grace ada"),
        ("display_name:ada || display_name:grace", "grace ada"),
        ("display_name:(ada grace)", "grace ada"),
        ("unread_count:2 && source:facebook", "grace"),
        ("source:facebook AND !display_name:grace", "ada bob loud"),
        ("source:facebook -display_name:grace -display_name:ada", "bob loud"),
        ("+source:facebook +unread_count:2", "grace"),
        ("+source:facebook unread_count:2", "grace ada bob loud"),  # the second is only wished for
        ("display_name:ada OR source:facebook AND unread_count:2", "grace"),  # so is the first
        ("(display_name:ada OR source:facebook) AND unread_count:2", "grace"),
        ("source:facebook AND (display_name:ada OR display_name:sms)", "ada"),
        ("source:facebook AND (NOT display_name:ada)", ""),
        ("display_name:ada^3", "ada"),
        ("source:(facebook AND NOT twilio.sms)", "grace ada bob loud"),
        ("*:*", "grace ada bob sms loud"),
        ("*", "grace ada bob sms loud"),
        ("unread_count:(2 OR 4)", "grace sms"),
    ]


REFUSED_FILTERS = [
    ("", "empty"),
    ("   ", "empty"),
    ("display_name:ada~", "fuzzy"),
    ("display_name:ada~1", "fuzzy"),
    ('display_name:"a b"~2', "slop"),
    ("display_name:/ad./", "regular expression"),
    ("display_name:[a TO b]", "range over text"),
    ("unread_count:abc", "unread_count"),
    ("unread_count:1*", "unread_count"),
    ("created_at:99999999999999999999", "64-bit|whole numbers"),
    ("created_at:9223372036854775808", "64-bit"),
    ("nothing:x", "nothing"),
    ("metadata.:x", "metadata"),
    ("AND", "read"),
    ("(source:facebook", "read"),
    ("source:", "read"),
    ("(" * 40 + "a" + ")" * 40, "deep"),
    (" ".join(["a"] * 1025), "1024"),
    ("a" * 70_000, "longer"),
]


class FilterContract(StoreBasics):
    """The filter language over five people."""

    @pytest.mark.parametrize(("filters", "expected"), filter_cases(), ids=lambda text: text[:60])
    async def test_a_filter_matches_whom_it_says(self, filters: str, expected: str) -> None:
        names = {chat.conversation_id: name for name, chat in PEOPLE.items()}
        async with self.opened() as store:
            await self.filled(store, people())
            page = await store.conversations(filters=filters, cursor=None, page_size=50)
            assert sorted(names[found] for found in listed(page)) == sorted(expected.split())
            assert page.total == len(expected.split())
            assert page.complete

    @pytest.mark.parametrize(("filters", "named"), REFUSED_FILTERS, ids=lambda text: text[:30])
    async def test_what_is_not_supported_is_refused_by_name(self, filters: str, named: str) -> None:
        async with self.opened() as store:
            with pytest.raises(Refused, match=named) as refused:
                await store.conversations(filters=filters, cursor=None, page_size=5)
            assert refused.value.field == "filters"

    async def test_many_clauses_are_no_problem(self) -> None:
        async with self.opened() as store:
            await self.filled(store, people())
            names = " ".join(f"display_name:*{number}x*" for number in range(900))
            found = await store.conversations(filters=f"{names} display_name:ada", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]
            ids_ = " OR ".join(ids.derive("x", str(number)) for number in range(1000))
            found = await store.conversations(filters=f"id:({ids_} OR {ADA.conversation_id})", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]


class StoreContract(FoldingContract, ActingContract, AskingContract, FilterContract):
    """All of it."""
