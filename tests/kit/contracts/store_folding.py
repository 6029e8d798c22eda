"""The store contract, R-1 to R-4: folding a log.

The oracle is the reference fold over dictionaries in `tests/kit/fold.py`.
"""

from random import Random

import msgspec
import pytest

from airy import topics
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from airy.store.api import LastApplied, Store
from tests.kit.builders import START_MS, Chat, channel, tag, template, webhook
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.fold import fold_all
from tests.kit.log import Entity, Log, cut
from tests.kit.store import (
    SEEDS,
    all_changes,
    by_partition,
    digest_of,
    everything,
    facts_of,
    listed,
    message_ids,
    reference_list,
    reference_messages,
    seeded,
)


class FoldingContract(StoreBasics):
    """R-1 to R-4."""

    @pytest.mark.parametrize("number", SEEDS)
    async def test_the_store_equals_the_reference_fold(self, number: int) -> None:
        log = seeded(number)
        reference = fold_all(facts_of(log))
        async with self.opened() as store:
            for batch in cut(log.records, Random(number)):
                await store.apply(batch)
            conversations = reference_list(reference)
            page = await store.conversations(filters=None, cursor=None, page_size=500)
            assert page.total == len(conversations)
            assert {view.conversation.id: view.conversation for view in page.items} == {
                conversation.id: conversation for conversation in conversations
            }
            times = [view.conversation.activity_at_ms for view in page.items]
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
    async def test_batch_sizes_do_not_change_the_result(self, number: int) -> None:
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

    async def test_order_among_partitions_does_not_change_the_result(self) -> None:
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

    async def test_duplicate_records_change_nothing(self) -> None:
        log, random = seeded(4), Random(4)
        async with self.opened() as store:
            await self.filled(store, log)
            before = await everything(store, log), await digest_of(store)
            for _ in range(20):
                start = random.randrange(len(log.records))
                applied = await store.apply(log.records[start : start + 60])
                assert (applied.facts, applied.changes, applied.unprocessable) == (0, 0, [])
            assert (await everything(store, log), await digest_of(store)) == before

    async def test_an_overlapping_batch_adds_the_new_records(self) -> None:
        log = seeded(5)
        half = len(log.records) // 2
        async with self.opened() as once, self.opened() as twice:
            await once.apply(log.records)
            await twice.apply(log.records[:half])
            await twice.apply(log.records[half - 40 :])
            assert await digest_of(once) == await digest_of(twice)

    async def test_positions_are_the_next_offsets_also_across_gaps(self) -> None:
        log = seeded(6, gap=3)
        ends = {record.topic_partition: record.offset + 1 for record in log.records}
        async with self.opened() as store:
            assert await store.positions() == {}
            await self.filled(store, log)
            assert await store.positions() == ends

    async def test_the_last_applied_record_is_the_last_fact(self) -> None:
        log, entities = seeded(6, gap=3), Log()
        entities.append(channel(), tag())
        facts = [record for record in log.records if record.topic == topics.EVENTS.name]
        async with self.opened() as store:
            assert await store.last_applied() is None
            await store.apply(entities.records)
            assert await store.last_applied() is None
            for record in facts[:3]:
                await store.apply([record])
                assert await store.last_applied() == LastApplied(record.position, record.fingerprint)
            await self.filled(store, log)
            assert await store.last_applied() == LastApplied(facts[-1].position, facts[-1].fingerprint)
            if self.persistent:
                await store.close()
                await store.open()
                assert await store.last_applied() == LastApplied(facts[-1].position, facts[-1].fingerprint)
            await store.wipe()
            assert await store.last_applied() is None

    async def test_a_reopened_store_continues_at_its_positions(self) -> None:
        if not self.persistent:
            pytest.skip("the store keeps nothing after close")
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

    async def test_a_wiped_store_is_empty_and_folds_to_the_same(self) -> None:
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

    async def test_different_states_have_different_digests(self) -> None:
        chat = Chat()
        common: list[Fact | Entity] = [channel(), chat.received("a"), chat.queued("x")]
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

    # --- unprocessable records

    async def test_an_undecodable_record_is_reported_and_the_rest_is_applied(self) -> None:
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
            assert [record for record, _ in applied.unprocessable] == wrong
            assert all(reason for _, reason in applied.unprocessable)
            assert applied.facts == 2
            assert await store.positions() == {record.topic_partition: record.offset + 1 for record in log.records}
            assert (await store.messages(chat.conversation_id, cursor=None, page_size=10)).total == 2

    async def test_a_fact_that_cannot_be_stored_affects_no_other(self) -> None:
        """Its time exceeds 64 bits: the fold accepts it, the database does not."""
        log, good, bad, other = Log(), Log(), Chat(0), Chat(1)
        poison = bad.received("poison", at_ms=1 << 70)
        story: list[Fact | Entity] = [channel(), bad.received("a"), other.received("a"), bad.queued("x")]
        rest: list[Fact | Entity] = [bad.started("x"), other.queued("x"), bad.received("b"), bad.read()]
        log.append(*story, poison, *rest)
        good.append(*story, *rest)
        async with self.opened() as store, self.opened() as clean:
            applied = await store.apply(log.records)
            assert [record for record, _ in applied.unprocessable] == [log.records[len(story)]]
            assert applied.facts == len(story) - 1 + len(rest)
            await self.filled(clean, good)
            assert await store.digest() == await clean.digest()
            assert await store.counts() == await clean.counts()
            assert await store.positions() == {record.topic_partition: record.offset + 1 for record in log.records}

    async def test_a_record_of_another_topic_is_an_error_of_the_caller(self) -> None:
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

    async def test_reports_about_unknown_messages_make_no_conversation(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), chat.receipt(DeliveryState.READ, "x"), chat.read())
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
            assert await self.last(store, chat) == chat.inbound_id("old")
            await store.apply(log.append(chat.deleted("old")))
            assert await self.last(store, chat) == chat.inbound_id("b")
            await store.apply(log.append(chat.deleted("a"), chat.deleted("b")))
            assert await self.last(store, chat) is None
            assert (await store.counts())["messages"] == 0

    async def last(self, store: Store, chat: Chat) -> str | None:
        view = await store.conversation(chat.conversation_id)
        assert view is not None
        return view.last_message.id if view.last_message else None

    async def test_of_messages_at_one_time_the_last_folded_is_the_last(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), *(chat.received(name, at_ms=START_MS) for name in "abcdefgh"))
        async with self.opened() as store:
            await self.filled(store, log)
            for name in "hgfedcb":
                assert await self.last(store, chat) == chat.inbound_id(name)
                await store.apply(log.append(chat.deleted(name)))

    async def test_a_watermark_covers_messages_sent_up_to_it(self) -> None:
        log, chat = Log(), Chat()
        times = [START_MS + number for number in range(4)]
        log.append(channel(), chat.received("a"), *(chat.echoed(at_ms, at_ms=at_ms) for at_ms in times))
        async with self.opened() as store:
            await self.filled(store, log)

            async def states() -> str:
                found = [await store.message(chat.inbound_id(at_ms)) for at_ms in times]
                return " ".join(message.delivery if message else "gone" for message in found)

            await store.apply(log.append(chat.receipt(DeliveryState.DELIVERED, watermark_ms=times[2])))
            assert await states() == "delivered delivered delivered sent"
            await store.apply(log.append(chat.receipt(DeliveryState.READ, watermark_ms=times[1])))
            assert await states() == "read read delivered sent"
            await store.apply(log.append(chat.receipt(DeliveryState.READ, watermark_ms=times[3])))
            assert await states() == "read read read read"

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
