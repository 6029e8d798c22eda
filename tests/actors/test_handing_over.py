"""One webhook brings events of two sources: they are handed over in the log, and parked ones are found again."""

import anyio

from airy import topics
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.router import HANDED_OVER, Router
from airy.bus.record import Record
from airy.model import ids
from tests.kit.harness import Harness
from tests.kit.providers import WIRES
from tests.kit.providers.meta import ACCOUNT, PAGE

PAGES, ACCOUNTS = WIRES["facebook"], WIRES["instagram"]
AT_MS = 1_767_225_600_000
AT_PAGES, AT_ACCOUNTS = topics.source_events("facebook"), topics.source_events("instagram")
MESSAGE_ID = ids.message_id(ACCOUNTS.channel(ACCOUNT).id, "m_in-1")


def event() -> bytes:
    return ACCOUNTS.received("instagram", 1, "hello", AT_MS).body


def pages_router(harness: Harness) -> Router:
    return Router(harness.bus, PAGES.source(), harness.directory)


def accounts_router(harness: Harness) -> Router:
    return Router(harness.bus, ACCOUNTS.source(), harness.directory)


def accounts_replayer(harness: Harness) -> ParkedReplayer:
    return ParkedReplayer(
        harness.bus, ACCOUNTS.source(), harness.store, harness.projector.wait_for_position, harness.directory.identities
    )


async def connect_account(harness: Harness) -> None:
    channel = ACCOUNTS.channel(ACCOUNT)
    await harness._settled(await harness.bus.publish([topics.CHANNELS.record(channel.id, channel)]))


async def held(harness: Harness, topic: topics.Topic[bytes]) -> list[Record]:
    async with harness.bus.tail(await harness.bus.beginning_offsets([topic])) as tail:
        return await tail.fetch(records_max=1000, wait_s=0.0)


async def stored(harness: Harness) -> bool:
    with anyio.move_on_after(60):
        while await harness.store.message(MESSAGE_ID) is None:
            await harness.projector.wait_for_progress(harness.projector.version, 1.0)
        return True
    return False


async def test_an_event_of_another_sources_kind_is_handed_over_and_routed_there() -> None:
    harness = Harness()
    async with harness.open(pages=lambda: pages_router(harness), accounts=lambda: accounts_router(harness)):
        await connect_account(harness)
        await harness.bus.publish([AT_PAGES.record(ACCOUNT, event())])
        assert await stored(harness)
        (record,) = await held(harness, AT_ACCOUNTS)
    assert (record.key, record.value, record.header(HANDED_OVER)) == (ACCOUNT.encode(), event(), "facebook")
    assert await held(harness, topics.parked_events("facebook")) == []


async def test_what_was_handed_over_is_parked_and_replayed_there() -> None:
    harness = Harness()
    async with harness.open(
        pages=lambda: pages_router(harness),
        accounts=lambda: accounts_router(harness),
        replayer=lambda: accounts_replayer(harness),
    ):
        await harness.bus.publish([AT_PAGES.record(ACCOUNT, event())])
        await anyio.sleep(5)
        assert len(await held(harness, topics.parked_events("instagram"))) == 1
        await connect_account(harness)
        assert await stored(harness)


async def test_what_an_older_version_parked_with_the_pages_is_replayed_when_the_account_is_connected() -> None:
    harness = Harness()
    async with harness.open(replayer=lambda: accounts_replayer(harness)):
        await harness.bus.publish([topics.parked_events("facebook").record(ACCOUNT, event())])
        await connect_account(harness)
        assert await stored(harness)


async def test_a_record_is_handed_over_once_and_never_back() -> None:
    harness = Harness()
    page = PAGES.received("facebook", 1, "hello", AT_MS).body
    async with harness.open(accounts=lambda: accounts_router(harness)):
        handed = ((HANDED_OVER, b"facebook"),)
        await harness.bus.publish([AT_ACCOUNTS.record(PAGE, page, headers=handed)])
        await anyio.sleep(5)
        (dead,) = await held(harness, topics.dead_letters(AT_ACCOUNTS.name))
    assert "events of facebook accounts are not taken at the webhook of instagram" in (dead.header("dlq-reason") or "")
    assert await held(harness, AT_PAGES) == []


async def test_events_of_pages_at_the_webhook_of_accounts_are_dead_letters_and_not_handed_over() -> None:
    """The access lists of the accounts' source do not let it write there."""
    harness = Harness()
    page = PAGES.received("facebook", 1, "hello", AT_MS).body
    async with harness.open(accounts=lambda: accounts_router(harness)):
        await harness.bus.publish([AT_ACCOUNTS.record(PAGE, page)])
        await anyio.sleep(5)
        (dead,) = await held(harness, topics.dead_letters(AT_ACCOUNTS.name))
    assert dead.value == page
    assert await held(harness, AT_PAGES) == []


async def test_an_event_keeps_its_time_of_arrival_when_it_is_handed_over_and_parked() -> None:
    harness = Harness()
    async with harness.open(pages=lambda: pages_router(harness), accounts=lambda: accounts_router(harness)):
        await harness.bus.publish([AT_PAGES.record(ACCOUNT, event(), timestamp_ms=AT_MS)])
        await anyio.sleep(5)
        (handed,) = await held(harness, AT_ACCOUNTS)
        (parked,) = await held(harness, topics.parked_events("instagram"))
    assert (handed.timestamp_ms, parked.timestamp_ms) == (AT_MS, AT_MS)
