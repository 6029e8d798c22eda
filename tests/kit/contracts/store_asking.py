"""The store contract, R-5: pages and entities."""

from itertools import pairwise
from random import Random
from typing import cast

import pytest
from msgspec.structs import replace

from airy import topics
from airy.errors import Refused
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.fact import (
    MessageQueued,
    MessageReceived,
    ReactionChanged,
    ReceiptReported,
    SendStarted,
    SendSucceeded,
)
from airy.store.api import ChannelActivity, Page
from tests.kit.builders import START_MS, Chat, channel, tag, template, webhook
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log, cut
from tests.kit.store import (
    FAR_MS,
    all_changes,
    crowd,
    listed,
    message_ids,
)


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
    async def test_unchanged_conversations_are_listed_once_while_others_change(self, filters: str | None) -> None:
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

    async def test_the_previous_page_shows_newer_conversations(self) -> None:
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
    async def test_numeric_cursors_are_offsets(self, filters: str | None) -> None:
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
    async def test_an_invalid_page_size_means_twenty(self, size: int | None) -> None:
        async with self.opened() as store:
            await self.filled(store, crowd(25))
            assert len((await store.conversations(filters=None, cursor=None, page_size=size)).items) == 20

    async def test_page_sizes_are_bounded(self) -> None:
        async with self.opened() as store:
            await self.filled(store, crowd(510), batch=600)
            assert len((await store.conversations(filters=None, cursor=None, page_size=10_000)).items) == 500
            assert (await store.conversations(filters="id:*", cursor="", page_size=10_000)).total == 510

    @pytest.mark.parametrize("cursor", ["abc", "-1", "1.5", "k", "kAAAA", "k====", "ü", "k" + "A" * 40, "9" * 40])
    async def test_text_that_is_not_a_cursor_is_refused(self, cursor: str) -> None:
        async with self.opened() as store:
            with pytest.raises(Refused) as refused:
                await store.conversations(filters=None, cursor=cursor, page_size=5)
            assert refused.value.field == "cursor"

    async def test_a_channel_has_the_times_of_its_newest_message_in_each_direction(self) -> None:
        log, chat, other = Log(), Chat(1), Chat(2)
        log.append(channel(), chat.received("a", at_ms=START_MS + 9), other.received("b", at_ms=START_MS + 5))
        async with self.opened() as store:
            await self.filled(store, log)
            unknown = ids.derive("no such channel")
            found = await store.channel_activity([chat.channel_id, unknown])
            assert found == {chat.channel_id: ChannelActivity(START_MS + 9), unknown: ChannelActivity()}
            await store.apply(log.append(other.queued("answer", at_ms=START_MS + 7), chat.received("c", at_ms=1)))
            assert (await store.channel_activity([chat.channel_id]))[chat.channel_id] == ChannelActivity(
                START_MS + 9, START_MS + 7
            )

    # --- messages.list

    async def test_messages_are_listed_in_the_order_of_the_log_whatever_their_times(self) -> None:
        """A question stamped ahead of our clock comes before its answer; so does one that says it is from long ago."""
        log, chat = Log(), Chat()
        log.append(
            channel(), chat.received("ahead", at_ms=FAR_MS), chat.queued("answer"), chat.received("ago", at_ms=1)
        )
        async with self.opened() as store:
            await self.filled(store, log)
            page = await store.messages(chat.conversation_id, cursor=None, page_size=50)
            assert message_ids(page) == [chat.inbound_id("ago"), chat.outbound_id("answer"), chat.inbound_id("ahead")]

    async def test_conversations_are_listed_by_arrival_whatever_the_times_of_their_messages(self) -> None:
        log, first, late, ahead = Log(), Chat(1), Chat(2), Chat(3)
        log.append(
            channel(),
            replace(ahead.received("a", at_ms=FAR_MS), arrived_at_ms=START_MS),
            first.received("a", at_ms=START_MS + 1),
            replace(late.received("a", at_ms=1), arrived_at_ms=START_MS + 2),
        )
        async with self.opened() as store:
            await self.filled(store, log)
            page = await store.conversations(filters=None, cursor=None, page_size=5)
            assert listed(page) == [chat.conversation_id for chat in (late, first, ahead)]
            await store.apply(log.append(ahead.queued("answer", at_ms=START_MS + 3)))
            page = await store.conversations(filters=None, cursor=None, page_size=5)
            assert listed(page) == [chat.conversation_id for chat in (ahead, late, first)]

    @pytest.mark.parametrize(
        ("size", "start", "expected"),
        [
            (5, 15, (range(15, 20), 10, 20)),
            (10, None, (range(1, 11), None, 11)),
            (10, 30, (range(30, 34), 20, None)),
            (10, 3, (range(3, 13), None, 13)),  # less than a page before it
            (200, None, (range(1, 34), None, None)),
            (200, 15, (range(1, 34), None, None)),  # all messages fit on one page
        ],
    )
    async def test_pages_of_messages(
        self, size: int, start: int | None, expected: tuple[range, int | None, int | None]
    ) -> None:
        """33 messages, numbered from the newest; a cursor is the id of the first message of its page."""
        numbers, previous, following = expected
        log, chat = Log(), Chat()
        log.append(channel(), *(chat.received(number, at_ms=START_MS + number % 5) for number in range(33, 0, -1)))
        name = {chat.inbound_id(number): number for number in range(1, 34)}
        async with self.opened() as store:
            await self.filled(store, log)
            cursor = None if start is None else chat.inbound_id(start)
            page = await store.messages(chat.conversation_id, cursor=cursor, page_size=size)
            assert [name[message_id] for message_id in message_ids(page)] == list(numbers)
            assert (page.previous_cursor and name[page.previous_cursor]) == previous
            assert (page.next_cursor and name[page.next_cursor]) == following
            assert page.total == 33

    async def test_messages_can_be_paged_both_ways(self) -> None:
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

    async def test_a_cursor_of_a_deleted_message_is_valid(self) -> None:
        log, chat = Log(), Chat()
        log.append(channel(), *(chat.received(number) for number in reversed(range(10))))
        async with self.opened() as store:
            await self.filled(store, log)
            await store.apply(log.append(chat.deleted(4)))
            page = await store.messages(chat.conversation_id, cursor=chat.inbound_id(4), page_size=3)
            assert message_ids(page) == [chat.inbound_id(number) for number in (5, 6, 7)]
            assert page.total == 9

    async def test_a_cursor_of_another_conversation_is_refused(self) -> None:
        log, chat, other = Log(), Chat(1), Chat(2)
        log.append(channel(), *(chat.received(number) for number in range(10)), other.received("a"))
        async with self.opened() as store:
            await self.filled(store, log)
            for cursor in (other.inbound_id("a"), "nonsense"):
                with pytest.raises(Refused) as refused:
                    await store.messages(chat.conversation_id, cursor=cursor, page_size=3)
                assert refused.value.field == "cursor"

    @pytest.mark.parametrize("longest", [3, 100])
    async def test_a_message_is_found_with_the_records_that_changed_it(self, longest: int) -> None:
        chat, other, log = Chat(1), Chat(2), Log()
        log.append(channel(), chat.received("in"), chat.queued("out"), other.received("else"))
        log.append(chat.started("out"), chat.succeeded("out", provider="wamid"), chat.started("out"))
        log.append(chat.receipt(DeliveryState.DELIVERED, watermark_ms=chat.now_ms))  # looks messages up in the store
        log.append(chat.reacted("in"), chat.receipt(DeliveryState.READ, "wamid"))
        facts = [record for record in log.records if record.topic == topics.EVENTS.name]
        of = {record.offset: topics.EVENTS.decode(record) for record in facts}
        async with self.opened() as store:
            for batch in cut(log.records, Random(1), longest=longest):
                await store.apply(batch)
            found = await store.folded_messages([chat.outbound_id("out"), chat.inbound_id("in").upper(), "unknown"])
            named = await store.named_by_provider(chat.provider_id("wamid"))
            derived = await store.named_by_provider(chat.provider_id("in"))

        assert [each.message.id for each in found] == [chat.outbound_id("out"), chat.inbound_id("in")]
        assert [[type(of[offset]) for offset in each.offsets] for each in found] == [
            [MessageQueued, SendStarted, SendSucceeded, ReceiptReported, ReceiptReported],
            [MessageReceived, ReactionChanged],
        ]
        assert (named, derived) == ([chat.outbound_id("out")], [])

    async def test_an_unknown_conversation_has_no_messages(self) -> None:
        async with self.opened() as store:
            assert await store.messages("nowhere", cursor=None, page_size=5) == Page([], None, None, 0)
            assert await store.message("nothing") is None
            assert await store.conversation("nowhere") is None

    async def test_ids_in_queries_are_not_case_sensitive(self) -> None:
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
            latest = replace(late, updated_at_ms=START_MS + 1)  # the version grows
            assert await store.channels(source="facebook", connected_only=False) == [latest]
            assert await store.channel(late.id) == latest
            assert await store.channel("nowhere") is None
            assert {(one.name, one.color, one.updated_at_ms) for one in await store.tags()} == {
                ("Urgent", "tag-blue", START_MS + 1),
                ("Later", "tag-red", START_MS),
            }
            assert {one.name for one in await store.templates("facebook")} == {"Hello", "Bye"}
            sms = template("Sms", "twilio.sms")
            assert await store.template(sms.id) == replace(sms, updated_at_ms=1)  # without a time of its own
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
                "conversations": 1,
                "messages": 3,
                "contacts": 1,
                "channels": 2,
                "changes": changes,
                "send_pending": 1,
                "send_unknown": 1,
                "dead_deliveries": 0,
            }
