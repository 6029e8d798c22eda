"""Histories of clients of two API replicas must be linearizable and read-your-writes.

`HISTORY_SEEDS` is the number of seeds, `AIRY_SEED` the first. A failing seed prints the command that replays it.
"""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from airy.actors.projector import Projector
from airy.commands import Writer
from airy.http import action
from tests.sim.history import Operation, violations
from tests.sim.replica_simulation import ReplicaSimulation, ReplicaSize
from tests.sim.seeded_histories import SeededHistories, by_name

HISTORIES = SeededHistories(lambda seed: ReplicaSimulation(seed, ReplicaSize()), "HISTORY_SEEDS", __file__)
PLANTED_SEEDS_MAX = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("block", HISTORIES.blocks)
def test_every_history_is_linear_and_every_client_reads_its_writes(block: int) -> None:
    HISTORIES.check_block(block)


def test_histories_contain_the_cases_the_rules_check() -> None:
    """Writes with unknown outcome, reads at another replica than the write, repeated keys."""
    histories = [HISTORIES.simulate(seed).history for seed in range(20)]
    everything = [one for history in histories for one in history]

    assert sum(one.outcome == "doubt" for one in everything) > 10
    assert sum(one.presented is not None for one in everything) > 200
    keys = [one.key for one in everything if one.kind == "send" and one.outcome == "ok"]
    assert len(keys) > len(set(keys)) + 20


# --- planted bugs: the checker must find each of them


def read_without_waiting(patch: pytest.MonkeyPatch) -> None:
    """A read does not wait for the position it presents."""

    async def hasty(*_: Any) -> None:
        return

    patch.setattr(action, "_wait_for_positions", hasty)


def report_position_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The projector reports a position before the store has committed it."""
    fold = Projector._fold

    async def boastful(self: Any, ctx: Any, records: Any) -> Any:
        for record in records:
            self._next[record.topic_partition] = record.offset + 1
        self._notify({record.topic_partition for record in records})
        await anyio.sleep(0.2)
        return await fold(self, ctx, records)

    patch.setattr(Projector, "_fold", boastful)


def answer_with_wrong_position(patch: pytest.MonkeyPatch) -> None:
    """The answer carries a position that is one too low."""
    append_fact = Writer.append_fact

    async def careless(self: Any, fact: Any) -> Any:
        position = await append_fact(self, fact)
        return position._replace(offset=max(0, position.offset - 1))

    patch.setattr(Writer, "append_fact", careless)


def ignore_idempotency_key(patch: pytest.MonkeyPatch) -> None:
    """Each replica derives its own id from a key."""
    derived = Writer.id_for

    def own(self: Any, cause: Any, *scope: str) -> str:
        return derived(self, cause, *scope, str(id(self)))

    patch.setattr(Writer, "id_for", own)


PLANTED = by_name(
    read_without_waiting,
    report_position_before_commit,
    answer_with_wrong_position,
    ignore_idempotency_key,
)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    HISTORIES.must_find(PLANTED[name], monkeypatch, seeds_max=PLANTED_SEEDS_MAX)


# --- the checker itself, rule by rule


def write(begin: float, position: int | None, **more: Any) -> Operation:
    given: dict[str, Any] = {
        "client": "c",
        "replica": "a",
        "kind": "set",
        "conversation": "x",
        "begin": begin,
        "end": begin + 1,
        "outcome": "ok",
        "position": position,
        "key": "k",
        "value": f"v{position}",
    }
    return Operation(**given | more)


def read(begin: float, **more: Any) -> Operation:
    given: dict[str, Any] = {
        "client": "d",
        "replica": "b",
        "kind": "read_conversation",
        "conversation": "x",
        "begin": begin,
        "end": begin + 1,
        "outcome": "ok",
    }
    return Operation(**given | more)


SENT = write(0, 3, kind="send", key="one", value="hi", message_id="m1")
LISTED = read(5, kind="read_messages")
WRONG: Mapping[str, tuple[list[Operation], str]] = {
    "writes against real time": ([write(0, 9), write(5, 4, key="other")], "began after"),
    "one position twice": ([write(0, 4), write(0, 4, key="other", value="w")], "have the position"),
    "a read below its position": ([write(0, 4), read(5, presented=4)], "shows no k"),
    "an older value than the position's": (
        [write(0, 4), write(2, 6), read(5, presented=6, data={"k": "v4"})],
        "instead of",
    ),
    "a replica that forgets its own write": ([write(0, 4), read(5, replica="a")], "shows no k"),
    "a replica that goes back": (
        [write(0, 4), write(2, 6), read(5, data={"k": "v6"}), read(7, data={"k": "v4"})],
        "instead of",
    ),
    "a hole": ([write(0, 4), write(2, 6, key="other"), read(5, data={"other": "v6"})], "before what it shows"),
    "a message that is missing": ([SENT, replace(LISTED, presented=3)], "misses send one"),
    "a message shown twice": ([SENT, replace(LISTED, messages=("m1", "m1"))], "twice"),
    "a phantom write": ([SENT, replace(LISTED, messages=("m1", "m9"))], "no client wrote"),
    "news from the future": ([write(9, 4), read(5, data={"k": "v4"})], "began later"),
    "two messages of one key": ([SENT, replace(SENT, position=8, message_id="m2")], "several messages"),
    "two contents of one key": ([SENT, replace(SENT, position=8, value="ho")], "several contents"),
    "a wrong count": (
        [write(0, 4, kind="receive", key="", message_id="m"), read(5, presented=4, unread=0)],
        "unread",
    ),
    "replicas that differ": (
        [write(0, None, outcome="doubt"), read(5, final=True), read(5, replica="a", final=True, data={"k": "vNone"})],
        "differ in the end",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_rule_is_enforced(name: str) -> None:
    history, words = WRONG[name]

    assert any(words in line for line in violations(history))


def test_a_possible_history_has_no_violations() -> None:
    history = [
        write(0, 4),
        write(2, 6),
        read(3, data={"k": "v4"}),
        read(9, data={"k": "v6"}),
        write(0, None, outcome="doubt", value="maybe"),
        read(9, data={"k": "maybe"}),
        SENT,
        replace(SENT, begin=8, end=9, position=12),
        replace(LISTED, messages=("m1",), presented=3),
        write(4, 7, kind="receive", key="", value="", message_id="m7"),
        read(9, data={"k": "v6"}, unread=0),
        read(20, presented=12, data={"k": "maybe"}, unread=1),
    ]

    assert violations(history) == []
