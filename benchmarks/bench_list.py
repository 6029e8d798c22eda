"""Time and query plans of list queries: the newest conversations, each filter on its own, and searches in messages.

The smaller size is the baseline of the larger one in the same run. The data: up to 10,000 conversations are folded from
facts, then their rows are copied under other ids and times, and the rows of their messages; the words of the messages
are inserted into the index as many at a time as the fold does, because the state of the index depends on it.
Selectivity: 1 of 100 conversations is unread, 9 of 10 are closed, 1 of 20 has the channel, 1 of 1000 has the first tag
and 1 of 20 the second. Words follow Zipf's law over 50,000 words.

`--database DIRECTORY` keeps the files, and a later run with the same schema, seed and sizes uses them again.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import anyio
import apsw
import msgspec
from bench_store import CHANNELS, Traffic, chunks

from airy import topics
from airy.bus.record import Record
from airy.model import ids
from airy.model.conversation import Conversation
from airy.model.fact import ConversationRead, Fact, MetadataChanged, StateChanged, TagAdded
from airy.model.metadata import value
from airy.store.api import Page
from airy.store.sqlite import SqliteStore
from airy.store.sqlite.conversation_index import unindexed_row
from airy.store.sqlite.message_index import MESSAGE_BITS
from airy.store.sqlite.schema import state_of
from airy.store.sqlite.store_file import remove
from airy.store.sqlite.text_indexing import UNINDEXED_MAX

RARE_TAG, COMMON_TAG = ids.derive("tag", "Urgent"), ids.derive("tag", "Later")
NAMES = ("Grace Hopper", "Ada Lovelace", "Ines Kuhn", "Jörg Hägg")
VOCABULARY = 50_000
WORDS_PER_MESSAGE = 12
INDEX_MEMORY_BYTES = 268_435_456  # of FTS5, in which it collects a large transaction

FTS5_MEMORY_BYTES = 1_048_576  # its default

BUILDING = {"cache_size": -2_097_152, "journal_mode": "off", "synchronous": "off", "temp_store": "memory"}

decode = msgspec.json.Decoder(Conversation).decode

Query = Callable[[SqliteStore], Awaitable[Page[Any]]]


def listing(filters: str | None, cursor: str | None = None) -> Query:
    return lambda store: store.conversations(filters=filters, cursor=cursor, page_size=20)


def queries(traffic: Traffic) -> dict[str, Query]:
    channel = traffic.people[0][0]
    newest = 1_767_225_600_000
    filters = {
        "unread": "unread_count:[1 TO *]",
        "read": "unread_count:0",
        "open": "id:* AND NOT metadata.state:CLOSED",
        "closed": "metadata.state:CLOSED",
        "tag, 1 of 1000": f"tag_ids:({RARE_TAG})",
        "tag, 1 of 20": f"tag_ids:({COMMON_TAG})",
        "channel": f"channel_id:({channel})",
        "source": "source:(facebook)",
        "one id": f"id:{traffic.people[0][2]}",
        "created": f"created_at:[{newest} TO *]",
        "created, no match": "created_at:[* TO 5]",
        "last message": f"last_message_at:[{newest} TO *]",
        "name, 1 of 4": "display_name:*hopper*",
        "name, no match": "display_name:*zzz*",
        "name, 1 of 1000": "display_name:*rare*",
        "metadata, 1 of 1000": "metadata.user_data.erp.id:e1",
        "metadata, key of all": "metadata.user_data.erp.id:*",
        "metadata, no match": "metadata.user_data.erp.id:zzz",
        "unread and name": "unread_count:[1 TO *] AND display_name:*hopper*",
        "message, word no. 1": "message:w1x",
        "message, word no. 30": "message:w30x",
        "message, word no. 300": "message:w300x",
        "message, word no. 3000": "message:w3000x",
        "message, word no. 40000": "message:w40000x",
        "message, no match": "message:nothing",
        "message, phrase of common words": 'message:"w1x w2x"',
        "message, phrase of rarer words": 'message:"w300x w400x"',
        "message, prefix of 11 words": "message:w3000*",
        "message, prefix of 111 words": "message:w300*",
        "message, two words": "message:(w300x AND w400x)",
        "message and unread": "message:w300x AND unread_count:[1 TO *]",
    }
    return {
        "20 newest": listing(None),
        "page 50": listing(None, "1000"),
        "messages of one": lambda store: store.messages(traffic.people[-1][2], cursor=None, page_size=20),
        **{name: listing(text) for name, text in filters.items()},
    }


def distinguishing_facts(traffic: Traffic) -> Iterator[Record]:
    """Facts that give the conversations different states, tags and names."""
    for number, (channel_id, _, conversation_id) in enumerate(traffic.people):
        about = {"conversation_id": conversation_id, "channel_id": channel_id, "source": "facebook", "at_ms": 1}

        def fact(kind: type[Fact], about: dict[str, object] = about, **more: object) -> Record:
            name = f"{kind.__name__}{more.get('tag_id', '')}"
            made = kind(id=ids.derive(about["conversation_id"], name), **about, **more)  # type: ignore[arg-type]
            return traffic.record(topics.EVENTS.record(made.conversation_id, made))

        if number % 100:
            yield fact(ConversationRead, reader="a")
        if number % 10:
            yield fact(StateChanged, state="CLOSED")
        if number % 1000 == 0:
            yield fact(TagAdded, tag_id=RARE_TAG)
        if number % 20 == 1:
            yield fact(TagAdded, tag_id=COMMON_TAG)
        name = f"{NAMES[number % 4]}{' Rare' if number % 1000 == 7 else ''}"
        data = {"contact.display_name": value(name), "user_data.erp.id": value(f"e{number % 1000}")}
        yield fact(MetadataChanged, subject="conversation", subject_id=conversation_id, set=data)


async def build(path: Path, seed: int, base: int, conversations: int, messages: int) -> Traffic:
    traffic = Traffic(seed, base)
    store = SqliteStore(path)
    await store.open()
    await store.apply(traffic.channels())
    for records in (traffic.one_each(), distinguishing_facts(traffic)):
        for chunk in chunks(records, 2000):
            await store.apply(chunk)
    await store.prune_changes(await store.positions())
    await store.conversations(filters="message:x", cursor=None, page_size=1)  # indexes what is waiting
    await store.close()
    connection = apsw.Connection(str(path))
    for name, pragma in BUILDING.items():
        connection.pragma(name, pragma)
    messages_each = max(1, messages // conversations)
    multiply(connection, base, conversations, messages_each)
    index_words(connection, Random(seed), conversations, messages_each)
    connection.pragma("journal_mode", "wal")
    connection.close()
    return traffic


def multiply(connection: apsw.Connection, base: int, conversations: int, messages_each: int) -> None:
    """Copies of the folded rows under other ids and times, until there are `conversations`."""
    columns = {
        table: [name for (name,) in connection.execute(f"SELECT name FROM pragma_table_info('{table}')")]
        for table in ("conversations", "messages", "conversation_tags")  # in the order of `n`
    }
    changed = {
        "n": "n + ?1",
        "conversation": "conversation + ?1",
        "activity_at": "activity_at + abs(random()) % 1000000000",
    }
    connection.execute("UPDATE conversations SET messages = ?", (messages_each,))
    for copy in range(1, conversations // base):
        with connection:
            for table, names in columns.items():
                ids_of = {"id": "randomblob(16)"} if table == "conversations" else {}
                made = ", ".join((changed | ids_of).get(name, f'"{name}"') for name in names)
                number = "conversation" if table == "conversation_tags" else "n"
                connection.execute(
                    f"INSERT INTO {table} SELECT {made} FROM {table} WHERE {number} <= ?2", (copy * base, base)
                )
    older = {"n": "n + ?1 * ?2", "id": "randomblob(16)", "sequence": "sequence - ?1"}
    made = ", ".join(older.get(name, f'"{name}"') for name in columns["messages"])
    for copy in range(1, messages_each):
        with connection:
            connection.execute(f"INSERT INTO messages SELECT {made} FROM messages WHERE n <= ?2", (copy, conversations))
    names = {
        n: (name, body)
        for n, name, body in connection.execute("SELECT n, name, body FROM conversations WHERE n <= ?", (base,))
    }
    marks = {n: unindexed_row(n, name, decode(body).metadata)[1] for n, (name, body) in names.items()}
    insert = "INSERT INTO conversation_marks(rowid, marks) VALUES(?, ?)"
    with collected(connection, "conversation_marks"):
        for copy in range(1, conversations // base):
            connection.executemany(insert, ((copy * base + n, text) for n, text in sorted(marks.items())))
    with connection:
        connection.execute("UPDATE conversation_counts SET conversations = conversations * ?", (conversations // base,))
        for name in ("conversations", "messages"):
            connection.execute(f"UPDATE counters SET value = (SELECT count(*) FROM {name}) WHERE name = '{name}'")


@contextmanager
def collected(connection: apsw.Connection, table: str) -> Iterator[None]:
    """One transaction whose rows FTS5 collects in memory and writes at once."""
    set_memory = f"INSERT INTO {table}({table}, rank) VALUES('hashsize', ?)"
    with connection:
        connection.execute(set_memory, (INDEX_MEMORY_BYTES,))
        yield
    connection.execute(set_memory, (FTS5_MEMORY_BYTES,))


def index_words(connection: apsw.Connection, random: Random, conversations: int, messages_each: int) -> None:
    """Words for every message, in place of those of the texts, as many at a time as the fold indexes."""
    vocabulary = [f"w{number}x" for number in range(1, VOCABULARY + 1)]
    weights = list(accumulate(1 / number for number in range(1, VOCABULARY + 1)))
    with connection:
        connection.executemany("INSERT OR IGNORE INTO known_words VALUES(?)", [(word,) for word in sorted(vocabulary)])
        connection.execute("INSERT INTO message_words(message_words) VALUES('delete-all')")
    numbers = list(range(1, conversations + 1))
    for copy in range(messages_each):
        random.shuffle(numbers)
        for first in range(0, conversations, UNINDEXED_MAX):
            batch = sorted(numbers[first : first + UNINDEXED_MAX])
            words = random.choices(vocabulary, cum_weights=weights, k=len(batch) * WORDS_PER_MESSAGE)
            rows = (
                (
                    number << MESSAGE_BITS | copy * conversations + number,
                    " ".join(words[nth * WORDS_PER_MESSAGE : (nth + 1) * WORDS_PER_MESSAGE]),
                )
                for nth, number in enumerate(batch)
            )
            with connection:
                connection.executemany("INSERT INTO message_words(rowid, words) VALUES(?, ?)", rows)


async def plans_of(store: SqliteStore, query: Query) -> list[str]:
    """The plan of each different statement of a query, one line each."""
    statements: dict[str, tuple[Any, ...]] = {}

    def note(_: apsw.Cursor, sql: str, bindings: Any) -> bool:
        statements.setdefault(sql, bindings or ())
        return True

    connections = {store._file.read, store._file.snapshot}
    for connection in connections:
        connection.exec_trace = note
    await query(store)
    for connection in connections:
        connection.exec_trace = None
    found = []
    for sql, bindings in statements.items():
        if sql.lstrip().startswith(("SELECT", "WITH", "INSERT")):
            rows = store._file.read.execute(f"EXPLAIN QUERY PLAN {sql}", bindings).fetchall()
            found.append("; ".join(row[3] for row in rows))
    return found


async def time_queries(path: Path, traffic: Traffic, chosen: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Warm. Of the rounds, each of all queries, the one with the lowest p99 counts: other processes only add time."""
    store = SqliteStore(path)
    await store.open()
    asked = queries(traffic)
    pages = {name: await query(store) for name, query in asked.items()}
    rounds = [
        {name: await timed(store, query, chosen.repeats) for name, query in asked.items()} for _ in range(chosen.rounds)
    ]
    found = {}
    for name, query in asked.items():
        page, plans = pages[name], await plans_of(store, query) if chosen.plans else []
        times = {key: min(each[name][key] for each in rounds) for key in rounds[0][name]}
        about = {"total": page.total, "complete": page.complete, "items": len(page.items), "plans": plans}
        found[name] = times | about
    await store.close()
    return found


async def timed(store: SqliteStore, query: Query, repeats: int) -> dict[str, float]:
    """Medians and p99 of the time and the processor time, in µs."""
    times: list[float] = []
    cpu: list[float] = []
    await query(store)
    for _ in range(repeats):
        before, before_cpu = time.perf_counter(), time.process_time()
        await query(store)
        times.append((time.perf_counter() - before) * 1e6)
        cpu.append((time.process_time() - before_cpu) * 1e6)
    times.sort()
    cpu.sort()
    p99 = min(repeats - 1, repeats * 99 // 100)
    return {
        "us": statistics.median(times),
        "p99_us": times[p99],
        "cpu_us": statistics.median(cpu),
        "cpu_p99_us": cpu[p99],
    }


def is_built(path: Path) -> bool:
    """Whether an earlier run completed the file with the schema of today."""
    if not path.exists():
        return False
    with closing(apsw.Connection(str(path))) as connection:
        return state_of(connection) == "current"


async def measure(directory: Path, chosen: argparse.Namespace, conversations: int) -> dict[str, Any]:
    base = min(conversations, 10_000)
    messages = conversations * chosen.messages_per_conversation
    path = directory / f"{conversations}-{messages}-{chosen.seed}.db"
    before = time.perf_counter()
    if is_built(path):
        traffic = Traffic(chosen.seed, base)
    else:
        building = path.with_suffix(".building")
        remove(building)
        remove(path)
        traffic = await build(building, chosen.seed, base, conversations, messages)
        building.rename(path)
    built_s = time.perf_counter() - before
    queries_ = await time_queries(path, traffic, chosen)
    return {
        "conversations": conversations,
        "messages": messages,
        "built_s": round(built_s, 1),
        "file_mb": round(path.stat().st_size / 1e6),
        "queries": queries_,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="10⁵ against 10⁶: minutes, and a few GB of disk")
    parser.add_argument("--messages-per-conversation", type=int, default=10)
    parser.add_argument("--plans", action="store_true", help="print the query plans")
    parser.add_argument("--repeats", type=int, default=200, help="of each query in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", type=Path, help="directory that keeps the files; default: a temporary one")
    chosen = parser.parse_args()
    results = []
    for size in (100_000, 1_000_000) if chosen.large else (10_000, 100_000):
        with ExitStack() as stack:
            kept = chosen.database or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            kept.mkdir(parents=True, exist_ok=True)
            results.append(anyio.run(measure, kept, chosen, size))
    small, large = results
    if chosen.json:
        about = {"bench": "list", "channels": CHANNELS, "cores": os.cpu_count()}
        print(json.dumps({**about, "results": results}))
        return
    for each in results:
        print(
            f"{each['conversations']:,} conversations, {each['messages']:,} messages in the index: "
            f"built in {each['built_s']} s, {each['file_mb']:,} MB"
        )
    print("one page of 20; small against large")
    heads = (("small ms", 10), ("large ms", 10), ("p99", 8), ("cpu ms", 8), ("cpu p99", 9), ("ratio", 7))
    print(" " * 34 + "".join(f"{head:>{width}}" for head, width in (*heads, ("total", 12), ("items", 7))))
    for name, at in large["queries"].items():
        before, more = small["queries"][name]["us"], "" if at["complete"] else "+"
        print(
            f"{name:<34}{before / 1000:>10.2f}{at['us'] / 1000:>10.2f}"
            f"{at['p99_us'] / 1000:>8.2f}{at['cpu_us'] / 1000:>8.2f}{at['cpu_p99_us'] / 1000:>9.2f}"
            f"{at['us'] / before:>7.2f}{at['total']:>12,}{more:<1}{at['items']:>6}"
        )
        for plan in at["plans"]:
            print(f"    {plan}")


if __name__ == "__main__":
    main()
