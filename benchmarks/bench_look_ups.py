"""The look-ups of the fold: a prepared statement for each key, against one statement for all keys of a batch.

Batches of 100 inbound messages to random conversations of 10⁵, in a file with warm caches: each needs its conversation,
and whether its message is there. Both sides read the same rows and build the same dictionaries.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import apsw

from airy import topics
from airy.model.fact import MessageReceived
from airy.store.sqlite.conversation_state import LOAD
from airy.store.sqlite.id_encoding import StoredId, encode_id
from benchmarks.bench_store import BATCH, Traffic, filled

CONVERSATIONS_OF = LOAD.replace("SELECT n,", "SELECT id, n,").replace("id = ?", "id IN ({marks})")
MESSAGE = "SELECT n, body FROM messages WHERE id = ? AND conversation = ?"
MESSAGES_OF = "SELECT id, conversation, n, body FROM messages WHERE (id, conversation) IN (VALUES {marks})"

Keys = list[tuple[StoredId, StoredId]]  # conversation, message
Found = tuple[dict[StoredId, tuple[object, ...]], dict[StoredId, tuple[object, ...]]]


def one_by_one(connection: apsw.Connection, keys: Keys) -> Found:
    look_up = connection.cursor().execute
    conversations: dict[StoredId, tuple[object, ...]] = {}
    messages: dict[StoredId, tuple[object, ...]] = {}
    for conversation, message in keys:
        row = conversations.get(conversation) or look_up(LOAD, (conversation,)).get
        conversations[conversation] = row
        there = look_up(MESSAGE, (message, row[0])).get
        if there is not None:
            messages[message] = there
    return conversations, messages


def all_at_once(connection: apsw.Connection, keys: Keys) -> Found:
    wanted = list({conversation for conversation, _ in keys})
    sql = CONVERSATIONS_OF.format(marks=", ".join("?" * len(wanted)))
    conversations = {row[0]: row[1:] for row in connection.execute(sql, wanted)}
    pairs = [value for conversation, message in keys for value in (message, conversations[conversation][0])]
    sql = MESSAGES_OF.format(marks=", ".join(["(?, ?)"] * len(keys)))
    return conversations, {row[0]: row[2:] for row in connection.execute(sql, pairs)}


def keys_of(traffic: Traffic) -> Keys:
    found: Keys = []
    for record in traffic.batch(BATCH):
        fact = topics.EVENTS.decode(record)
        assert isinstance(fact, MessageReceived)
        found.append((encode_id(fact.conversation_id), encode_id(fact.message_id)))
    return found


def timed(side: Callable[[apsw.Connection, Keys], Found], connection: apsw.Connection, batches: list[Keys]) -> float:
    """Microseconds of processor time per fact."""
    started = time.process_time()
    for keys in batches:
        side(connection, keys)
    return (time.process_time() - started) / (len(batches) * BATCH) * 1e6


async def measure(directory: Path, conversations: int, rounds: int, seed: int) -> dict[str, object]:
    traffic = Traffic(seed, conversations)
    path = directory / "store.db"
    await (await filled(path, traffic)).close()
    connection = apsw.Connection(str(path))
    connection.pragma("cache_size", -16_384)
    sides = {"one by one": one_by_one, "all at once": all_at_once}
    took: dict[str, list[float]] = {name: [] for name in sides}
    assert one_by_one(connection, keys := keys_of(traffic)) == all_at_once(connection, keys)
    for _ in range(rounds):
        batches = [keys_of(traffic) for _ in range(20)]
        for name in Random(seed).sample(list(sides), len(sides)):
            took[name].append(timed(sides[name], connection, batches))
    medians = {name: statistics.median(each) for name, each in took.items()}
    return {**medians, "ratio": medians["all at once"] / medians["one by one"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = anyio.run(measure, Path(directory), given.conversations, given.rounds, given.seed)
    if given.json:
        print(json.dumps(found))
    else:
        print(f"one by one {found['one by one']:.1f} µs a fact, all at once {found['all at once']:.1f} µs")
        print(f"ratio {found['ratio']:.2f}")


if __name__ == "__main__":
    main()
