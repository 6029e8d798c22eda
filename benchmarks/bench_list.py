"""Time of list queries at ten times as many conversations.

Queries: the 20 newest, a later page, a page of messages, filters, and contacts by name, at 10⁵ and 10⁶ conversations
with `--large`, else at 10⁴ and 10⁵. Baseline: the same query at the smaller size in the same run. Selectivity of the
filters: 1 of 100 is unread, 9 of 10 are closed, 1 of 20 has the channel, 1 of 1000 has the tag.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
from bench_store import CHANNELS, Traffic, chunks

from airy import topics
from airy.bus.record import Record
from airy.model import ids
from airy.model.fact import ConversationRead, Fact, MetadataChanged, StateChanged, TagAdded
from airy.model.metadata import value
from airy.store.api import Page
from airy.store.cursors import encode_contact
from airy.store.sqlite import SqliteStore

TAG = ids.derive("tag", "Urgent")
NAMES = ("Grace Hopper", "Ada Lovelace", "Ines Kuhn", "Jörg Hägg")

MIDDLE = encode_contact((0, "Grace Hopper", ids.derive("middle")))

Query = Callable[[SqliteStore], Awaitable[Page[Any]]]


def listing(filters: str | None, cursor: str | None = None) -> Query:
    return lambda store: store.conversations(filters=filters, cursor=cursor, page_size=20)


def queries(traffic: Traffic) -> dict[str, Query]:
    channel = traffic.people[0][0]
    return {
        "20 newest": listing(None),
        "page 50": listing(None, "1000"),
        "messages of one": lambda store: store.messages(traffic.people[-1][2], cursor=None, page_size=20),
        "unread": listing("unread_count:[1 TO *]"),
        "open": listing("id:* AND NOT metadata.state:CLOSED"),
        "closed": listing("metadata.state:CLOSED"),
        "tag": listing(f"tag_ids:({TAG})"),
        "channel": listing(f"channel_id:({channel})"),
        "source": listing("source:(facebook)"),
        "name, one in four": listing("display_name:*hopper*"),
        "name, no match": listing("display_name:*zzz*"),
        "metadata, no match": listing("metadata.user_data.erp.id:zzz"),
        "unread and name": listing("unread_count:[1 TO *] AND display_name:*hopper*"),
        "contacts": lambda store: store.contacts(cursor=None, page_size=20),
        "contacts, page in the middle": lambda store: store.contacts(cursor=MIDDLE, page_size=20),
        "one id": listing(f"id:{traffic.people[0][2]}"),
    }


def distinguishing_facts(traffic: Traffic) -> Iterator[Record]:
    """Facts that give the conversations different states, tags and names."""
    for number, (channel_id, _, conversation_id) in enumerate(traffic.people):
        about = {"conversation_id": conversation_id, "channel_id": channel_id, "source": "facebook", "at_ms": 1}

        def fact(kind: type[Fact], about: dict[str, object] = about, **more: object) -> Record:
            made = kind(id=ids.derive(about["conversation_id"], kind.__name__), **about, **more)  # type: ignore[arg-type]
            return traffic.record(topics.EVENTS.record(made.conversation_id, made))

        if number % 100:
            yield fact(ConversationRead, reader="a")
        if number % 10:
            yield fact(StateChanged, state="CLOSED")
        if number % 1000 == 0:
            yield fact(TagAdded, tag_id=TAG)
        name = {"contact.display_name": value(NAMES[number % 4])}
        yield fact(MetadataChanged, subject="conversation", subject_id=conversation_id, set=name)


async def time_queries(path: Path, seed: int, conversations: int, repeats: int) -> dict[str, dict[str, float]]:
    traffic = Traffic(seed, conversations)
    store = SqliteStore(path)
    await store.open()
    await store.apply(traffic.channels())
    for number, chunk in enumerate(chunks(traffic.one_each(), 2000)):
        await store.apply(chunk)
        if number % 10 == 9:
            await store.prune_changes(await store.positions())
            await store.checkpoint()
    for number, chunk in enumerate(chunks(distinguishing_facts(traffic), 2000)):
        await store.apply(chunk)
        if number % 10 == 9:
            await store.prune_changes(await store.positions())
            await store.checkpoint()
    await store.checkpoint()
    found = {}
    for name, query in queries(traffic).items():
        page = await query(store)
        times = []
        for _ in range(repeats):
            before = time.perf_counter()
            await query(store)
            times.append(time.perf_counter() - before)
            if sum(times) > 2.0 and len(times) >= 3:
                break
        found[name] = {"us": statistics.median(times) * 1e6, "total": page.total, "complete": page.complete}
    await store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="10⁵ against 10⁶: minutes, and a few GB of disk")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sizes = (100_000, 1_000_000) if chosen.large else (10_000, 100_000)
    results = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            results.append(anyio.run(time_queries, Path(name) / "store.db", chosen.seed, size, chosen.repeats))
    small, large = results
    if chosen.json:
        about = {"bench": "list", "sizes": sizes, "channels": CHANNELS, "cores": os.cpu_count()}
        print(json.dumps({**about, "results": results}))
        return
    print(f"one page of 20, median; {sizes[0]:,} against {sizes[1]:,} conversations")
    print(f"{'':<30}{'small us':>10}{'large us':>10}{'ratio':>8}{'matches':>10}")
    for name, at in large.items():
        before, more = small[name]["us"], "" if at["complete"] else "+"
        print(f"{name:<30}{before:>10.0f}{at['us']:>10.0f}{at['us'] / before:>8.2f}{at['total']:>10.0f}{more}")


if __name__ == "__main__":
    main()
