"""Records that fail, and the fold over rows."""

from typing import Any

import anyio
import anyio.lowlevel
import apsw
import pytest
from hypothesis import given
from structlog.testing import capture_logs

from airy.errors import Unavailable
from airy.model.change import Change, ChangeKind
from airy.model.change_builder import entity_change
from airy.model.entity import Channel, Tag
from airy.model.fact import Fact
from airy.model.fold import fold
from airy.store.sqlite import (
    projection,
)
from tests.kit.builders import Chat, channel, tag
from tests.kit.fact_strategies import logs
from tests.kit.fold import fold_all
from tests.kit.log import Log
from tests.kit.sqlite_store import opened
from tests.kit.store import all_changes, reference_messages, seeded

# --- a record that fails


async def test_a_fold_that_raises_affects_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its changes in memory are undone."""
    log, clean_log, chat = Log(), Log(), Chat()
    story: list[Fact] = [chat.received("a"), chat.queued("x")]
    broken = chat.started("x")
    rest: list[Fact] = [chat.received("b"), chat.read()]
    log.append(channel(), *story, broken, *rest)
    clean_log.append(channel(), *story, *rest)

    def crashing(state: object, fact: Fact) -> object:
        folded = fold(state, fact)  # type: ignore[arg-type]
        if fact.id == broken.id:
            raise KeyError("no such thing")
        return folded

    monkeypatch.setattr(projection, "fold", crashing)
    async with opened() as store, opened() as clean:
        with capture_logs() as logged:
            applied = await store.apply(log.records)
        await clean.apply(clean_log.records)
        reported = [(record.offset, reason) for record, reason in applied.unprocessable]
        assert reported == [(2, "folding it failed: KeyError: 'no such thing'")]
        assert (applied.facts, await store.digest()) == (4, await clean.digest())
        assert [(line["event"], line["error"]) for line in logged] == [("record.failed", "KeyError")]
        assert "no such thing" not in str(logged)
        assert len(await all_changes(store)) == len(await all_changes(clean)) == applied.changes - 1


async def test_rows_of_a_failing_record_are_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.append(tag(), channel(), Chat().received("a"))

    def crashing(kind: ChangeKind, entity: Channel | Tag, **write: Any) -> Change:
        if isinstance(entity, Tag):
            raise KeyError(kind)
        return entity_change(kind, entity, **write)

    monkeypatch.setattr(projection, "entity_change", crashing)
    async with opened() as store:
        with capture_logs():
            applied = await store.apply(log.records)
        assert [record for record, _ in applied.unprocessable] == log.records[:1]
        assert await store.tags() == []
        assert await store.channels() == [channel()]


async def test_an_error_of_the_engine_marks_no_record_as_unprocessable(monkeypatch: pytest.MonkeyPatch) -> None:
    log = seeded(6)

    def full(state: object, fact: Fact) -> object:
        raise apsw.FullError("database or disk is full")

    async with opened() as store:
        await store.apply(log.records[:50])
        before = await store.digest(), await store.positions()
        with monkeypatch.context() as patch:
            patch.setattr(projection, "fold", full)
            with pytest.raises(Unavailable, match="full"):
                await store.apply(log.records[50:])
        assert (await store.digest(), await store.positions()) == before
        assert (await store.apply(log.records[50:])).unprocessable == []


# --- the fold over rows, for generated logs


async def test_a_conversation_that_a_deferred_message_began_is_stored_alike_in_one_batch_and_in_two() -> None:
    """Its default name is that of its source, which is not known at first."""
    log, chat = Log(), Chat()
    log.append(channel(), chat.deferred("x"), chat.received("a"))
    async with opened() as whole, opened() as single:
        await whole.apply(log.records)
        for record in log.records:
            await single.apply([record])
        assert await whole.digest(changes=True) == await single.digest(changes=True)


@given(logs)
def test_the_store_equals_the_reference_fold(log: list[Fact]) -> None:
    chat, reference, records = Chat(), fold_all(log), Log()
    records.append(channel(), *log)

    async def both() -> None:
        async with opened() as whole, opened() as single:
            await whole.apply(records.records)
            for record in records.records:
                await single.apply([record])
            assert await whole.digest(changes=True) == await single.digest(changes=True)
            messages = reference.state(chat.conversation_id).messages()
            for message in messages:
                assert await whole.message(message.id) == message
            page = await whole.messages(chat.conversation_id, cursor=None, page_size=500)
            assert page.items == reference_messages(reference, chat.conversation_id)
            view = await whole.conversation(chat.conversation_id)
            expected = reference.state(chat.conversation_id).conversation()
            assert (view and view.conversation) == (expected if expected and expected.visible else None)
            assert [published.change for published in await all_changes(whole)] == reference.changes
            for fact in log:
                state = reference.state(chat.conversation_id)
                assert await whole.accepted(chat.conversation_id, fact.id) == state.seen_facts.get(fact.id, False)

    anyio.run(both)


async def test_a_provider_id_bound_by_a_query_in_the_middle_of_a_batch_is_stored() -> None:
    """The echo erases the last message, which makes the fold look for another one before it puts the message."""
    chat, log = Chat(), Log()
    log.append(channel(), chat.deleted("x"), chat.received("a"), chat.queued("x"), chat.echoed("x", ours="x"))
    async with opened() as whole, opened() as single:
        await whole.apply(log.records)
        for record in log.records:
            await single.apply([record])
        assert await whole.digest() == await single.digest()
