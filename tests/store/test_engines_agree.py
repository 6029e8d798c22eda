"""The SQLite store and the reference store answer alike, for any log, any batches and any filter."""

from collections.abc import Sequence
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from airy import topics
from airy.errors import Refused
from airy.model import ids
from airy.model.contact import KEY, Contact, ContactWrite
from airy.model.entity import Channel
from airy.model.fold_entity import ABSENT
from airy.store.api import Page, Store
from airy.store.sqlite import SqliteStore
from tests.kit.builders import START_MS, Chat, channel, dead, tag, template, webhook
from tests.kit.event_loops import run_seeded
from tests.kit.fact_strategies import TIMES, Made, from_providers, from_us
from tests.kit.log import Log, cut
from tests.kit.reference_store import ReferenceStore
from tests.kit.store import EVERY_PARTITION, SEEDS, all_changes, facts_of, seeded

SOURCES = (("facebook", "page"), ("facebook", "other"), ("twilio.sms", "+1"))
CHATS = 4
TAGS = [ids.derive("tag", name) for name in ("Urgent", "Later")]

PEOPLE = [ids.derive("contact", "free"), *(ids.contact_id(Chat(number).conversation_id) for number in range(2))]

Write = tuple[str, int]  # what is written, and the version it was made on, counted from the first
ContactsStep = tuple[list[ContactWrite], dict[str, int]]
Step = tuple[int, Made] | Write | ContactsStep | str


def chats() -> list[Chat]:
    of = [SOURCES[number % len(SOURCES)] for number in range(CHATS)]
    return [Chat(number, source=source, source_channel_id=account) for number, (source, account) in enumerate(of)]


def contact_writes() -> st.SearchStrategy[ContactsStep]:
    names = st.sampled_from([chat.conversation_id for chat in chats()])
    contact = st.builds(
        lambda name, linked: Contact(id="", display_name=name, conversations=dict.fromkeys(linked, "facebook")),
        st.sampled_from((None, "", "Ines")),
        st.lists(names, max_size=2),
    )
    write = st.builds(
        lambda person, nth, found: ContactWrite(
            id=person, base=_version(nth), contact=None if found is None else replace(found, id=person)
        ),
        st.sampled_from(PEOPLE),
        st.integers(0, 3),
        st.none() | contact,
    )
    return st.tuples(st.lists(write, max_size=2), st.dictionaries(names, st.integers(0, 2), max_size=2))


steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.integers(0, CHATS - 1), from_providers | from_us),
        contact_writes(),
        st.tuples(st.sampled_from(("write tag", "delete tag", "write channel")), st.integers(0, 3)),
        st.sampled_from(("connect 0", "connect 1", "connect 2", "disconnect 0", "remove 1", "tag", "entities", "dead")),
    ),
    min_size=1,
    max_size=40,
)


def log_of(story: Sequence[Step]) -> Log:
    log, people = Log(), chats()
    log.append(channel(*SOURCES[0]))
    for number, step in enumerate(story):
        match step:
            case (int() as who, made):
                log.append(made(people[who]))  # type: ignore[operator]
            case (list() as writes, dict() as covered):
                log.contacts(*writes, write_id=f"write {number}", at_ms=START_MS + number, covered=covered)
            case ("delete tag", int() as nth):
                log.deleted(topics.TAGS, tag().id, base=_version(nth), write_id=f"write {number}")
            case (str() as what, int() as nth):
                written = tag(color="tag-blue") if what == "write tag" else channel(*SOURCES[0])
                entity = replace(written, updated_at_ms=START_MS + number)
                log.written(entity, base=_version(nth), write_id=f"write {number}")
            case "tag":
                log.append(replace(tag(), updated_at_ms=START_MS + number))
            case "entities":
                log.append(template(), webhook())
            case "dead":
                log.append(dead(number % 3, died_at_ms=number, replay_requested_at_ms=None if number % 2 else number))
            case str():
                verb, which = step.split()
                found: Channel = channel(*SOURCES[int(which)], connected=verb == "connect")
                if verb == "remove":
                    log.remove(topics.CHANNELS, found.id)
                else:
                    log.append(found)
    return log


def _version(nth: int) -> int:
    """`ABSENT`, or the time of one of the first writes."""
    return ABSENT if nth == 0 else START_MS + nth - 1


# --- filters

values = {
    "display_name": [
        "ines",
        "*i*",
        "i*",
        "*s",
        "*act",
        "con*",
        "?nes",
        "*",
        "sms",
        '"sms 0"',
        "*s 4*",
        "face*book*",
        "c*t",
    ],
    "id": ["*", chats()[0].conversation_id, f"{chats()[1].conversation_id[:9]}*", "????????-*", "nothing"],
    "source": ["facebook", "twilio*", "*o*", "FACEBOOK", "nothing"],
    "channel_id": [chats()[0].channel_id, chats()[2].channel_id, "*", "nothing*"],
    "tag_ids": [*TAGS, "*", f"{TAGS[0][:5]}*"],
    "metadata.state": ["open", "closed", "*", "o*"],
    "metadata.user_data.a": ["1", "*", "0"],
    "metadata.user_data.a.b": ["2", "?"],
    "metadata.contact.display_name": ["*", "1"],
    "message": [
        "bread",
        "new*",
        "new",
        "newer",
        "n*",
        '"rye bread"',
        '"bread rye"',
        "three",
        "YES",
        '"yes three left"',
        "zzz",
    ],
    "unread_count": ["0", "1", "[1 TO *]", "{0 TO 2}", "[* TO 1]", ">1"],
    "created_at": [f"[{TIMES[3]} TO *]", f"{TIMES[0]}", f"[* TO {TIMES[5]}}}"],
    "last_message_at": [f"[{TIMES[3]} TO *]", f"<{TIMES[6]}"],
}
terms = st.sampled_from([f"{field}:{value}" for field, found in values.items() for value in found])
signed = st.builds(lambda sign, term: sign + term, st.sampled_from(("", "", "+", "-")), terms)
filters = st.recursive(
    signed | terms.map("NOT {}".format),
    lambda inner: st.builds(
        lambda parts, word: f"({word.join(parts)})",
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from((" ", " AND ", " OR ")),
    ),
    max_leaves=6,
)


async def page_of(store: Store, text: str | None, cursor: str | None, size: int) -> object:
    """The page, or why there is none."""
    try:
        return await store.conversations(filters=text, cursor=cursor, page_size=size)
    except Refused as error:
        return str(error)


async def pages(store: Store, text: str | None, size: int) -> list[object]:
    found: list[object] = []
    cursor: str | None = None
    while True:
        page = await page_of(store, text, cursor, size)
        found.append(page)
        cursor = page.next_cursor if isinstance(page, Page) else None
        if cursor is None:
            return found


async def contact_pages(store: Store, size: int) -> list[object]:
    pages = [await store.contacts(cursor=None, page_size=size)]
    while pages[-1].next_cursor is not None:
        pages.append(await store.contacts(cursor=pages[-1].next_cursor, page_size=size))
    return list(pages)


async def answers(store: Store, log: Log, at_ms: int) -> list[object]:
    names = sorted({fact.conversation_id for fact in facts_of(log)})
    return [
        [await store.conversation(name) for name in names],
        [await store.messages(name, cursor=None, page_size=2) for name in names],
        await store.work("send", "facebook", partitions=EVERY_PARTITION, due_until_ms=at_ms, work_max=100),
        sorted(
            work.conversation_id
            for work in await store.work(
                "profile", "facebook", partitions=EVERY_PARTITION, due_until_ms=at_ms, work_max=100
            )
        ),
        await all_changes(store, [tp for topic in topics.CHANGE_TOPICS for tp in topic.topic_partitions]),
        await store.channels(connected_only=False),
        [await store.entity_accepted(topics.TAGS, tag().id, f"write {number}") for number in range(40)],
        await store.tags(),
        await store.contacts(cursor=None, page_size=500),
        await contact_pages(store, 2),
        [await store.contact_of(name) for name in names],
        [(await store.contact(name), await store.contact_version(name)) for name in PEOPLE],
        [await store.entity_accepted(topics.CONTACTS, KEY, f"write {number}") for number in range(40)],
        await store.templates("facebook"),
        await store.webhooks(),
        await store.dead_deliveries(cursor=None, page_size=2),
        await store.pending_replays(after=(-1, ""), replays_max=10),
        await store.counts(),
        await store.positions(),
        await store.last_applied(),
        await pages(store, None, 2),
    ]


async def compare(log: Log, seed: int, wanted: Sequence[str], times: Sequence[int]) -> None:
    store, reference = SqliteStore(":memory:"), ReferenceStore()
    await store.open()
    try:
        for batch in cut(log.records, Random(seed), longest=15):
            applied, expected = await store.apply(batch), await reference.apply(batch)
            assert replace(applied, touched=expected.touched) == expected  # what else it names is up to an engine
            for at_ms in times:
                assert await answers(store, log, at_ms) == await answers(reference, log, at_ms)
        for text in wanted:
            assert await pages(store, text, 2) == await pages(reference, text, 2), text
    finally:
        await store.close()


@given(steps, st.integers(0, 99), st.lists(filters, max_size=4), st.sampled_from((0, *TIMES)))
def test_both_engines_answer_alike(story: list[Step], seed: int, wanted: list[str], at_ms: int) -> None:
    run_seeded(0, compare, log_of(story), seed, wanted, [at_ms])


@pytest.mark.parametrize("number", SEEDS)
def test_both_engines_answer_alike_about_a_plausible_log(number: int) -> None:
    wanted = [f"{field}:{value}" for field, found in values.items() for value in found]
    log = seeded(number, facts=150, conversations=6)
    run_seeded(0, compare, log, number, wanted, [START_MS + 60_000 * minutes for minutes in (1, 5, 30)])
