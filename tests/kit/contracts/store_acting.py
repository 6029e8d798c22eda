"""The store contract: changes by position, and pending work."""

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from airy import topics
from airy.bus.record import TopicPartition
from airy.model.change import ChangeKind
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.store.api import Store, StoredChange, Work, WorkKey
from tests.kit.builders import START_MS, Chat, channel, tag, template, webhook
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.fold import ReferenceFold, fold_all
from tests.kit.log import Log, cut
from tests.kit.store import (
    BEFORE_ALL,
    EVERY_PARTITION,
    FAR_MS,
    SEEDS,
    all_changes,
    by_partition,
    facts_of,
    seeded,
)


class ActingContract(StoreBasics):
    """Changes by position, and pending work."""

    async def test_changes_are_read_by_position_in_pages_of_any_size(self) -> None:
        log = seeded(11)
        reference = fold_all(facts_of(log))
        async with self.opened() as store:
            for batch in cut(log.records, Random(11), longest=100):
                await store.apply(batch)
            for changes_max in (1, 2, 7, 1000):
                found: list[StoredChange] = []
                for tp in topics.EVENTS.topic_partitions:
                    found += await self.walked(store, tp, changes_max)
                assert [published.change for published in found] == by_partition(reference)
            positions = {(record.position, record.offset) for record in log.records}
            assert all((published.position, published.position.offset) in positions for published in found)

    async def walked(self, store: Store, tp: TopicPartition, changes_max: int) -> list[StoredChange]:
        found: list[StoredChange] = []
        after = BEFORE_ALL
        while page := await store.changes(tp, after=after, changes_max=changes_max):
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
            found = await store.changes(log.records[1].topic_partition, after=BEFORE_ALL, changes_max=100)
            positions = list(dict.fromkeys(published.position for published in found))
            assert positions == [log.records[1].position, log.records[3].position]
            later = await store.changes(
                log.records[1].topic_partition, after=(log.records[1].offset, 0), changes_max=100
            )
            assert later == found[1:]

    async def test_pruned_changes_are_deleted_and_the_rest_is_kept(self) -> None:
        log, random = seeded(12), Random(12)
        async with self.opened() as store:
            await self.filled(store, log)
            everything_ = await all_changes(store)
            state = await store.digest()
            below = {tp: random.randrange(0, 40) for tp in topics.EVENTS.topic_partitions}
            kept = [
                published
                for published in everything_
                if published.position.offset >= below[published.position.topic_partition]
            ]
            assert await store.prune_changes(below) == len(everything_) - len(kept)
            assert await all_changes(store) == kept
            assert (await store.counts())["changes"] == len(kept) + 1  # and that of the channel
            at = await store.positions()
            floors = {tp: min(offset, at.get(tp, 0)) for tp, offset in below.items()}
            assert await store.pruned_below() == {tp: floor for tp, floor in floors.items() if floor}
            assert await store.prune_changes(below) == 0
            assert await store.digest() == state
            await store.apply(log.append(Chat(0).received("later")))
            assert len(await all_changes(store)) > len(kept)

    async def test_entity_records_make_changes_at_their_position(self) -> None:
        log = Log()
        one, other = channel(), channel("facebook", "another-page")
        off = replace(channel(connected=False), updated_at_ms=START_MS + 1)
        blue = replace(tag(color="tag-blue"), updated_at_ms=START_MS + 1)
        log.append(one, other, off, tag(), blue, template(), webhook())
        async with self.opened() as store:
            await self.filled(store, log)
            tps = (
                *topics.CHANNELS.topic_partitions,
                *topics.TAGS.topic_partitions,
                *topics.TEMPLATES.topic_partitions,
                *topics.WEBHOOKS.topic_partitions,
            )
            found = await all_changes(store, tps)
            expected = [record.position for record in log.records[:5]]
            assert sorted(published.position for published in found) == sorted(expected)
            kinds = {published.position: published.change.kind for published in found}
            assert [kinds[position] for position in expected] == [ChangeKind.CHANNEL_UPDATED] * 3 + [
                ChangeKind.TAG_UPDATED
            ] * 2
            sequences = [published.change.sequence for published in found if published.change.lane == one.id]
            assert sequences == sorted(set(sequences))
            assert len({published.change.id for published in found}) == len(found)

    async def test_the_digest_does_not_depend_on_offsets(self) -> None:
        dense, gappy = Log(), Log(gap=7)
        for log, since in ((dense, 1), (gappy, 8)):
            log.append(channel(), tag(), replace(webhook(), since={topics.EVENTS.name: (since,)}))
        async with self.opened() as one, self.opened() as other:
            await self.filled(one, dense)
            await self.filled(other, gappy)
            assert await one.digest(changes=True) == await other.digest(changes=True)

    async def test_a_duplicate_entity_record_makes_one_change(self) -> None:
        log = Log()
        record = topics.TAGS.record(tag().id, tag(), headers=(("id", b"w1"),))
        log.append_record(record)
        log.append_record(record)
        async with self.opened() as store:
            await self.filled(store, log)
            (published,) = await all_changes(store, topics.TAGS.topic_partitions)
            assert published.position == log.records[0].position

    async def test_a_tombstone_of_an_entity_makes_no_change(self) -> None:
        log = Log()
        log.append(tag())
        log.remove(topics.TAGS, tag().id)
        async with self.opened() as store:
            await self.filled(store, log)
            assert len(await all_changes(store, topics.TAGS.topic_partitions)) == 1
            assert await store.tags() == []

    @pytest.mark.parametrize("number", SEEDS)
    async def test_pending_work_follows_from_the_state(self, number: int) -> None:
        log, random = seeded(number, facts=150, conversations=5), Random(number)
        reference = ReferenceFold()
        async with self.opened() as store:
            for batch in cut(log.records, random, longest=5):
                before = await all_work(store)
                applied = await store.apply(batch)
                after = await all_work(store)
                assert {key for key in after if before[key] != after[key]} <= applied.touched
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

    async def test_messages_of_a_conversation_are_due_one_after_the_other(self) -> None:
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
            assert await due(chat.failed("x", retry_at_ms=later)) == []  # y does not overtake it
            assert await due(at_ms=later) == [(x, "pending")]
            assert await due(chat.started("x", 2)) == [(x, "sending")]  # due at once
            assert await due(chat.unknown("x", 2)) == [(y, "pending")]  # unknown does not block
            assert await due(chat.started("y"), chat.failed("y")) == [(z, "pending")]
            assert await due(chat.resend("y")) == [(y, "pending")]
            assert await due(chat.started("y", 3), chat.succeeded("y", 3, provider="y")) == [(z, "pending")]
            assert await due(chat.started("z"), chat.succeeded("z", provider="z")) == []
            counts = await store.counts()
            assert (counts["send_pending"], counts["send_unknown"]) == (0, 1)
            assert await due(chat.echoed("x", ours="x")) == []
            assert (await store.counts())["send_unknown"] == 0

    async def test_a_deleted_message_is_not_sent(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"), chat.queued("x"), chat.started("x"))
        log.append(chat.succeeded("x", provider="x"), chat.receipt(DeliveryState.FAILED, "x"), chat.resend("x"))
        async with self.opened() as store:
            await self.filled(store, log)
            assert (await store.counts())["send_pending"] == 1
            await store.apply(log.append(chat.deleted("x")))
            message = await store.message(chat.outbound_id("x"))
            assert message is not None
            waits = message.delivery is DeliveryState.PENDING and not message.deleted
            assert (await store.counts())["send_pending"] == waits
            found = await store.work("send", "facebook", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=9)
            assert len(found) == waits

    @pytest.mark.parametrize("longest", [1, 2, 100])
    async def test_changes_and_sends_carry_the_trace_of_their_cause(self, longest: int) -> None:
        """A send carries the trace of its request through all attempts; a resend is a new request."""
        queued, attempt, resent = (f"00-{digit * 32}-00f067aa0ba902b7-01" for digit in "abc")
        log, chat = Log(), Chat()
        log.append(channel())
        retried = chat.failed("x", retry_at_ms=START_MS)
        first = [log.traced(chat.received("a"), ""), log.traced(chat.queued("x"), queued)]
        first += [log.traced(chat.started("x"), attempt), log.traced(retried, attempt)]
        then = [log.traced(chat.started("x", 2), attempt), log.traced(chat.failed("x", 2), attempt)]
        then += [log.traced(chat.resend("x"), resent)]
        async with self.opened() as store:
            await store.apply(log.records[:1])
            for records, trace in ((first, queued), (then, resent)):
                for start in range(0, len(records), longest):
                    await store.apply(records[start : start + longest])
                (work,) = await store.work(
                    "send", "facebook", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=9
                )
                assert work.trace == trace
            traces = {(published.change.kind, published.trace) for published in await all_changes(store)}
            assert (ChangeKind.MESSAGE_CREATED, "") in traces
            assert (ChangeKind.MESSAGE_CREATED, queued) in traces
            assert (ChangeKind.MESSAGE_UPDATED, attempt) in traces

    async def test_work_names_its_conversation_channel_and_partition(self) -> None:
        log, chat, foreign = Log(), Chat(1), Chat(2, source="twilio.sms", source_channel_id="+1")
        queued = chat.queued("x")
        log.append(channel(), channel("twilio.sms", "+1"), chat.received("a"), queued)
        log.append(foreign.received("a"), foreign.queued("x"))
        partition = topics.EVENTS.partition(chat.conversation_id)
        async with self.opened() as store:
            await self.filled(store, log)
            (work,) = await store.work("send", "facebook", partitions=[partition], due_until_ms=FAR_MS, work_max=10)
            assert work.attempted_ms == 0
            assert work == Work(
                "send",
                "facebook",
                partition,
                chat.conversation_id,
                chat.outbound_id("x"),
                0,
                "pending",
                chat.channel_id,
                since_ms=queued.at_ms,
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

    async def test_a_deferred_message_is_work_of_no_kind_of_channel_until_it_has_one(self) -> None:
        log, chat = Log(), Chat(1)
        log.append(channel(), chat.deferred("x"), chat.deferred("y"))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert WorkKey("send", "") in applied.touched
            waiting = await store.work("send", "", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=10)
            assert [(each.message_id, each.channel_id) for each in waiting] == [(chat.outbound_id("x"), "")]
            assert await store.conversation(chat.conversation_id) is None
            at = len(log.records)
            log.append(chat.received("a"), chat.queued("x"))
            applied = await store.apply(log.records[at:])
            assert WorkKey("send", "facebook") in applied.touched
            assert await store.work("send", "", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=10) == []
            (work,) = await store.work("send", "facebook", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=10)
            assert (work.message_id, work.channel_id) == (chat.outbound_id("x"), chat.channel_id)
            view = await store.conversation(chat.conversation_id)
            assert view is not None
            assert view.conversation.message_count == 3
            assert (await store.counts())["conversations"] == 1

    async def test_work_of_every_custom_source_is_of_the_open_kind(self) -> None:
        log = Log()
        chats = [Chat(number, source=f"crm-{number}", source_channel_id="desk") for number in range(3)]
        for chat in chats:
            log.append(channel(chat.source, "desk"), chat.received("a"), chat.queued("x"))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert applied.touched == {WorkKey("send", "custom"), WorkKey("profile", "custom")}
            found = await store.work("send", "custom", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=10)
            assert {work.message_id for work in found} == {chat.outbound_id("x") for chat in chats}
            assert {work.source for work in found} == {"custom"}

    async def test_work_is_ordered_by_due_time_and_bounded(self) -> None:
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

    async def test_work_is_read_page_by_page(self) -> None:
        log, chats = Log(), [Chat(number) for number in range(7)]
        for chat in chats:
            log.append(chat.deferred("x"))
        async with self.opened() as store:
            await self.filled(store, log)
            found, last = list[str](), None
            while page := await store.work(
                "send", "", partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=3, after=last
            ):
                found += [work.conversation_id for work in page]
                last = page[-1]
            assert sorted(found) == sorted(chat.conversation_id for chat in chats)

    async def test_the_backlog_of_a_channel_hides_no_other_channel(self) -> None:
        log = Log()
        crowd = [Chat(number) for number in range(8)]
        quiet = Chat(100, source_channel_id="quiet-page")
        log.append(channel(), channel("facebook", "quiet-page"))
        for chat in (*crowd, quiet):
            log.append(chat.received("a"), chat.queued("x"))
        async with self.opened() as store:
            await self.filled(store, log)

            async def found(**bounds: object) -> Counter[str]:
                rows = await store.work(
                    "send",
                    "facebook",
                    partitions=EVERY_PARTITION,
                    due_until_ms=FAR_MS,
                    work_max=5,
                    **bounds,  # type: ignore[arg-type]
                )
                return Counter(work.channel_id for work in rows)

            assert (await found()).total() == 5
            assert await found(per_channel_max=2) == {crowd[0].channel_id: 2, quiet.channel_id: 1}
            assert await found(excluded_channels={crowd[0].channel_id}) == {quiet.channel_id: 1}
            assert await found(excluded_channels=[crowd[0].channel_id, quiet.channel_id]) == {}

    async def test_a_profile_is_pending_until_it_was_fetched(self) -> None:
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
            assert not await wanted(channel(connected=False))  # no calls for a disconnected channel
            assert await wanted(channel())
            assert not await wanted(chat.profile(found=False))

    async def test_facts_that_leave_pending_work_as_it_is_touch_none(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.received("a"), chat.profile("Ines Kuhn"))
        async with self.opened() as store:
            await self.filled(store, log)
            for fact in (chat.received("b"), chat.read(), chat.tag_added("t"), chat.metadata({"a": 1})):
                assert (await store.apply(log.append(fact))).touched == frozenset()
            assert (await store.apply(log.append(chat.queued("x")))).touched == {WorkKey("send", "facebook")}
            assert (await store.apply(log.append(chat.refetch()))).touched == {WorkKey("profile", "facebook")}
            assert (await store.apply(log.append(channel()))).touched == {WorkKey("profile", "facebook")}

    async def test_excluded_channels_have_no_profiles_to_look_up(self) -> None:
        log, one, other = Log(), Chat(1), Chat(2, source_channel_id="another-page")
        log.append(channel(), channel("facebook", "another-page"), one.received("a"), other.received("b"))
        async with self.opened() as store:
            await self.filled(store, log)
            found = await store.work(
                "profile",
                "facebook",
                partitions=EVERY_PARTITION,
                due_until_ms=FAR_MS,
                work_max=1,
                excluded_channels=[other.channel_id],
            )
            assert [work.conversation_id for work in found] == [one.conversation_id]

    async def test_accepted_tells_whether_a_fact_was_accepted(self) -> None:
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


async def all_work(store: Store) -> dict[WorkKey, list[Work]]:
    keys = [WorkKey("send", "facebook"), WorkKey("profile", "facebook")]
    return {key: await store.work(*key, partitions=EVERY_PARTITION, due_until_ms=FAR_MS, work_max=1000) for key in keys}


def to_send(reference: ReferenceFold, until_ms: int) -> set[str]:
    """By the rule: the oldest message of a conversation that is pending or sending, if it is due."""
    found = set()
    for state in reference.states.values():
        waiting = [
            m
            for m in state.messages()
            if m.delivery in {DeliveryState.PENDING, DeliveryState.SENDING} and not m.deleted
        ]
        if waiting and (waiting[0].delivery is DeliveryState.SENDING or waiting[0].retry_at_ms <= until_ms):
            found.add(waiting[0].id)
    return found


def to_resolve(reference: ReferenceFold) -> set[str]:
    found = set()
    for name, state in reference.states.items():
        conversation = state.conversation()
        fetched = conversation is not None and "contact.fetch_state" in conversation.metadata
        if conversation and not fetched and any(message.from_contact for message in state.messages()):
            found.add(name)
    return found
