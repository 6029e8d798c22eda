"""The change feed: every change once and in order, across lag, restarts, processes; or one resync."""

from collections import defaultdict
from collections.abc import Sequence

import anyio
import msgspec
import pytest

from airy import topics
from airy.actors import broadcaster as broadcaster_module
from airy.actors.change_feed import SlowClient
from airy.actors.feed_position import ResumeToken, decode, position_at
from airy.actors.feed_subscriber import FeedEvent, FeedLimits, FeedMark, FeedScope, MarkKind
from airy.actors.runtime import Context
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.model.change import ChangeKind
from airy.model.entity import Tag
from airy.store.api import StoredChange
from tests.kit.builders import Chat
from tests.kit.change_feed import FeedHarness, another_process, following

CONVERSATIONS = 6


def by_partition(changes: Sequence[StoredChange]) -> dict[TopicPartition, list[str]]:
    found: dict[TopicPartition, list[str]] = defaultdict(list)
    for stored in changes:
        found[stored.position.topic_partition].append(stored.change.id)
    return dict(found)


def stored_of(events: Sequence[FeedEvent]) -> list[StoredChange]:
    return [event.stored for event in events]


async def converse(harness: FeedHarness, messages: int = 3, chats: Sequence[Chat] | None = None) -> list[Chat]:
    """Messages of several conversations, each with several changes, and a tag."""
    chats = chats or [Chat(number) for number in range(CONVERSATIONS)]
    for number in range(messages):
        for chat in chats:
            await harness.append(chat.received(f"{number}"))
    tag = Tag(id="3f0c2a3e-5b7d-4c8e-9f10-2a3b4c5d6e7f", name=f"tag {messages}", color="tag-red", updated_at_ms=1)
    await harness._settled(await harness.bus.publish([topics.TAGS.record(tag.id, tag)]))
    return chats


async def test_a_client_receives_every_change_from_now_on_once_and_in_order() -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        await harness.connect()
        await converse(harness, messages=1)
        before = len(await harness.stored())
        async with following(harness.feed) as client:
            await converse(harness)
            await client.until(len(await harness.stored()) - before)

            everything = by_partition(await harness.stored())
            received = by_partition(stored_of(client.events))
            assert client.marks == [MarkKind.READY]
            assert received == {tp: everything[tp][-len(ids) :] for tp, ids in received.items()}
            assert sum(map(len, received.values())) == sum(map(len, everything.values())) - before


async def test_from_every_event_another_process_continues_with_exactly_the_rest() -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()), another_process(harness.bus) as other:
        async with following(harness.feed) as client:
            await harness.connect()
            await converse(harness)
            everything = await harness.stored()
            await client.until(len(everything))
        assert any(event.position.partial is not None for event in client.events), "some end inside of a record"

        for count, event in enumerate(client.events, 1):
            async with following(other, decode(event.resume)) as resumed:
                assert resumed.marks == [MarkKind.READY]
                received = [*client.events[:count], *resumed.events]
                assert by_partition(stored_of(received)) == by_partition(everything), f"after event {count}"


async def test_resuming_while_changes_arrive_misses_and_repeats_none() -> None:
    """The position is ahead of the broadcaster, behind it, or both, in different partitions."""
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        chats = await converse(harness)
        async with (
            following(harness.feed, ResumeToken(position_at({}), None)) as client,
            anyio.create_task_group() as tasks,
        ):
            for number in range(5):
                tasks.start_soon(converse, harness, 2, chats[number : number + 1])
                async with following(harness.feed, ResumeToken(position_at({}), None), delay_s=0.001) as late:
                    await late.until(len(await harness.stored()))
                    assert by_partition(stored_of(late.events)) == by_partition(await harness.stored())
            await client.until(len(await harness.stored()))
            assert by_partition(stored_of(client.events)) == by_partition(await harness.stored())


@pytest.mark.parametrize("by", ["kind", "conversation", "channel"])
async def test_a_scope_selects_live_and_resumed_changes_alike(by: str) -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        await harness.connect()
        chats = [Chat(number) for number in range(CONVERSATIONS)]
        scope = {
            "kind": FeedScope(kinds=frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.TAG_UPDATED})),
            "conversation": FeedScope(conversations=frozenset({chats[0].conversation_id})),
            "channel": FeedScope(channels=frozenset({harness.channel.id})),
        }[by]
        async with following(harness.feed, scope=scope) as client:
            await converse(harness, chats=chats)
            wanted = [each for each in await harness.stored() if scope.contains(each.change)]
            wanted = [each for each in wanted if each.change.kind is not ChangeKind.CHANNEL_UPDATED]
            await client.until(len(wanted))
        assert 0 < len(wanted) < len(await harness.stored())
        assert by_partition(stored_of(client.events)) == by_partition(wanted)

        middle = len(wanted) // 2
        async with following(harness.feed, decode(client.events[middle].resume), scope) as resumed:
            received = [*client.events[: middle + 1], *resumed.events]
            assert by_partition(stored_of(received)) == by_partition(wanted)


# --- slow clients


async def test_a_client_that_falls_behind_receives_everything_from_the_store() -> None:
    """X-9."""
    harness = FeedHarness(limits=FeedLimits(queue_items_max=4))
    async with (
        harness.open(broadcaster=harness.broadcaster()),
        following(harness.feed) as quick,
        following(harness.feed, delay_s=0.05) as slow,
    ):
        await converse(harness, messages=10)
        await slow.until(len(await harness.stored()))
        await quick.until(len(await harness.stored()))

        assert harness.feed.lagged > 0
        assert by_partition(stored_of(slow.events)) == by_partition(await harness.stored())
        assert by_partition(stored_of(quick.events)) == by_partition(await harness.stored())


async def test_a_client_that_stops_reading_is_cut_and_delays_no_other() -> None:
    harness = FeedHarness(limits=FeedLimits(queue_items_max=4, send_s_max=2.0))
    async with (
        harness.open(broadcaster=harness.broadcaster()),
        following(harness.feed) as quick,
        following(harness.feed) as stuck,
    ):
        stuck.delay_s = 1_000.0
        begin = anyio.current_time()
        await converse(harness, messages=10)
        await quick.until(len(await harness.stored()))
        assert anyio.current_time() - begin < 1.0
        await anyio.sleep(3.0)

        assert isinstance(stuck.ended, SlowClient)
        assert harness.feed.cut == 1


async def test_a_client_that_reads_too_slowly_to_catch_up_is_cut() -> None:
    harness = FeedHarness(limits=FeedLimits(queue_items_max=4, send_s_max=10.0, behind_s_max=5.0))
    async with harness.open(broadcaster=harness.broadcaster()), following(harness.feed, delay_s=1.0) as slow:
        await converse(harness, messages=10)
        await anyio.sleep(60)

        assert isinstance(slow.ended, SlowClient)
        assert str(slow.ended) == "the client did not catch up within 5 s"


async def test_the_queue_is_bounded_in_bytes() -> None:
    harness = FeedHarness(limits=FeedLimits(queue_bytes_max=3_000))
    async with harness.open(broadcaster=harness.broadcaster()), following(harness.feed, delay_s=0.05) as slow:
        await converse(harness)
        await slow.until(len(await harness.stored()))

        assert harness.feed.lagged > 0


# --- the broadcaster


async def test_a_crash_of_the_broadcaster_is_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = FeedHarness()
    offer, offered = broadcaster_module.Broadcaster._offer, 0

    def crash_sometimes(self: broadcaster_module.Broadcaster, event: FeedEvent, now_ms: int) -> None:
        nonlocal offered
        offered += 1
        offer(self, event, now_ms)
        if offered in {7, 20}:
            raise ZeroDivisionError

    monkeypatch.setattr(broadcaster_module.Broadcaster, "_offer", crash_sometimes)
    async with harness.open(broadcaster=harness.broadcaster()), following(harness.feed) as client:
        for number in range(4):
            await harness.append(*(Chat(chat).received(f"round {number}") for chat in range(CONVERSATIONS)))
            await client.until(len(await harness.stored()))
            await anyio.sleep(5.0)
        assert offered > 20

        assert by_partition(stored_of(client.events)) == by_partition(await harness.stored())


async def test_a_client_without_events_is_told_later_positions() -> None:
    harness = FeedHarness()
    nothing = FeedScope(kinds=frozenset({ChangeKind.MESSAGE_DELETED}))
    async with harness.open(broadcaster=harness.broadcaster()):
        async with following(harness.feed, scope=nothing) as client:
            await converse(harness)
            await anyio.sleep(61)
            assert client.marks == [MarkKind.READY, MarkKind.POSITION]
            await anyio.sleep(600)
            assert len(client.marks) == 2, "nothing has changed"

        await harness.store.prune_changes(dict(harness.projector.positions()))
        async with following(harness.feed, client.token, nothing) as resumed:
            assert resumed.marks == [MarkKind.READY]


async def test_clients_beyond_the_limit_are_turned_away_until_one_leaves() -> None:
    harness = FeedHarness(limits=FeedLimits(subscribers_max=1))
    async with harness.open(broadcaster=harness.broadcaster()):
        async with following(harness.feed), following(harness.feed) as second:
            assert isinstance(second.ended, Unavailable)
        async with following(harness.feed) as third:
            assert third.ended is None


# --- resync


async def test_a_position_whose_changes_were_pruned_is_one_resync() -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        async with following(harness.feed) as client:
            chats = await converse(harness)
            await client.until(len(await harness.stored()))
        early, late = client.events[0], client.events[-1]
        await harness.store.prune_changes(dict(harness.projector.positions()))

        async with following(harness.feed, decode(early.resume)) as resumed:
            assert resumed.marks == [MarkKind.RESYNC]
            mark = resumed.items[0]
            assert isinstance(mark, FeedMark)
            assert mark.reason == "changes after the position are not kept any more"
            await converse(harness, 1, chats)
            await resumed.until(1)
            assert resumed.marks == [MarkKind.RESYNC]
        async with following(harness.feed, decode(late.resume)) as resumed:
            assert resumed.marks == [MarkKind.READY], "an idle client lost nothing"


async def test_a_position_of_another_log_is_one_resync() -> None:
    one, two = FeedHarness(), FeedHarness()
    async with one.open(broadcaster=one.broadcaster()), following(one.feed) as client:
        await converse(one)
        await client.until(len(await one.stored()))
    async with two.open(broadcaster=two.broadcaster()):
        for number in range(20):
            await two.append(*(Chat(number).received(f"other {each}") for each in range(3)))

        for event in client.events:
            async with following(two.feed, decode(event.resume)) as resumed:
                assert resumed.marks == [MarkKind.RESYNC]
                assert resumed.events == []


async def test_a_position_beyond_the_end_of_the_log_is_a_resync() -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        await converse(harness)
        epoch = await harness.feed.log_epoch.current()
        beyond = position_at(dict(harness.projector.positions())).with_offset(0, 10_000)
        async with following(harness.feed, ResumeToken(beyond, epoch)) as client:
            assert client.marks == [MarkKind.RESYNC]


async def test_a_last_change_that_is_not_in_the_log_is_a_resync() -> None:
    """As after an import of another log that begins with the same record."""
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        async with following(harness.feed) as client:
            await converse(harness)
            await client.until(len(await harness.stored()))
        token = client.token
        assert token is not None
        assert token.position.last is not None
        other = msgspec.structs.replace(token.position.last, checksum=1)
        forged = ResumeToken(msgspec.structs.replace(token.position, last=other), token.epoch)
        async with following(harness.feed, forged) as resumed:
            assert resumed.marks == [MarkKind.RESYNC]


async def test_a_process_that_has_not_folded_the_position_asks_to_come_again() -> None:
    harness = FeedHarness()
    async with harness.open(broadcaster=harness.broadcaster()):
        async with following(harness.feed) as client:
            await converse(harness)
            await client.until(len(await harness.stored()))
        async with another_process(harness.bus, folding=False) as other, following(other, client.token) as resumed:
            assert isinstance(resumed.ended, Unavailable)


async def test_what_the_broadcaster_could_not_read_in_time_is_one_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = FeedHarness()
    broadcast = broadcaster_module.Broadcaster._broadcast

    async def after_pruning(self: broadcaster_module.Broadcaster, ctx: Context) -> None:
        await harness.store.prune_changes(dict(harness.projector.positions()))
        await broadcast(self, ctx)

    async with harness.open(broadcaster=harness.broadcaster()), following(harness.feed) as client:
        with monkeypatch.context() as patch:
            patch.setattr(broadcaster_module.Broadcaster, "_broadcast", after_pruning)
            await harness.append(Chat().received("lost"))
            await anyio.sleep(1)
        assert client.marks == [MarkKind.READY, MarkKind.RESYNC]
        await harness.append(Chat(1).received("received"))
        await client.until(3)

        assert client.ids == [each.change.id for each in await harness.stored()]
