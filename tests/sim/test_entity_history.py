"""Concurrent writes of entities at two API replicas lose no update.

`ENTITY_SEEDS` is the number of seeds, `AIRY_SEED` the first; `make entities SEEDS=500` runs more. A failing seed prints
the command that replays it.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from airy.commands.entity_writer import EntityWriter
from airy.model.fold_entity import EntityWrite
from airy.store.sqlite import contact_rows, entities
from tests.sim.entity_history import EntityOperation, violations
from tests.sim.entity_simulation import EntitySimulation
from tests.sim.seeded_histories import SeededHistories, by_name

HISTORIES = SeededHistories(EntitySimulation, "ENTITY_SEEDS", __file__)
FAST_SEEDS = 10
PLANTED_SEEDS_MAX = 20

pytestmark = pytest.mark.timeout(600)


def test_no_update_of_an_entity_is_lost_in_a_few_histories() -> None:
    HISTORIES.check(range(FAST_SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("block", HISTORIES.blocks)
def test_no_update_of_an_entity_is_lost(block: int) -> None:
    HISTORIES.check_block(block)


@pytest.mark.slow
def test_histories_contain_the_cases_the_rules_check() -> None:
    """Accepted and refused writes of every kind, unknown outcomes, and writes that were rejected and repeated."""
    everything = [operation for seed in range(20) for operation in HISTORIES.simulate(seed).entity_history]

    for entity in ("channel", "tag", "template", "webhook", "contact"):
        for kind in ("put", "update", "delete"):
            assert any((each.entity, each.kind, each.outcome) == (entity, kind, "ok") for each in everything)
    assert sum(each.outcome == "doubt" for each in everything) > 5
    assert sum(each.outcome == "refused" for each in everything) > 5
    assert sum(each.presented is not None for each in everything) > 20


# --- planted bugs: the checker must find each of them


def accept_every_write(patch: pytest.MonkeyPatch) -> None:
    """The fold accepts writes on any version: the last write wins."""

    def accepted(write: EntityWrite, *, current: int, last: int) -> int:
        return max(write.at_ms, last + 1)

    patch.setattr(entities, "fold_entity", accepted)


def accept_every_write_of_contacts(patch: pytest.MonkeyPatch) -> None:
    """The same for contacts."""
    patch.setattr(contact_rows, "accepts", lambda *_: True)


def repeat_the_old_entity(patch: pytest.MonkeyPatch) -> None:
    """A rejected write is repeated on the new version with the entity that was made of the old one."""
    put = EntityWriter.put

    async def stubborn(self: Any, topic: Any, entity_id: str, read: Any, intent: Any) -> Any:
        made: list[Any] = []

        async def once(current: Any) -> Any:
            if not made:
                made.append(await intent(current))
            return made[0]

        return await put(self, topic, entity_id, read, once)

    patch.setattr(EntityWriter, "put", stubborn)


def answer_without_looking(patch: pytest.MonkeyPatch) -> None:
    """A rejected write is answered as if it had been accepted."""

    async def accepted(*_: Any) -> bool:
        return True

    patch.setattr("airy.store.sqlite.SqliteStore.entity_accepted", accepted)


def reuse_versions_after_a_deletion(patch: pytest.MonkeyPatch) -> None:
    """The version of a deleted entity is forgotten, and the clock is taken for the version of a new one."""

    def restarted(write: EntityWrite, *, current: int, last: int) -> int | None:
        return None if write.base not in (None, current) else 1 if current == 0 else current + 1

    patch.setattr(entities, "fold_entity", restarted)


PLANTED = by_name(
    accept_every_write,
    accept_every_write_of_contacts,
    repeat_the_old_entity,
    answer_without_looking,
    reuse_versions_after_a_deletion,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    HISTORIES.must_find(PLANTED[name], monkeypatch, seeds_max=PLANTED_SEEDS_MAX)


# --- the checker itself, rule by rule


def write(begin: float, position: int | None, **more: Any) -> EntityOperation:
    given: dict[str, Any] = {
        "client": "c",
        "replica": "a",
        "kind": "update",
        "entity": "tag",
        "begin": begin,
        "end": begin + 1,
        "outcome": "ok",
        "position": position,
    }
    return EntityOperation(**given | more)


def read(begin: float, **fields: str) -> EntityOperation:
    return EntityOperation(
        client="d",
        replica="b",
        kind="read",
        entity="tag",
        begin=begin,
        end=begin + 1,
        outcome="ok",
        fields=fields,
        exists=bool(fields),
    )


CREATED = write(0, 1, kind="put", creates=True, fields={"name": "n1", "color": "c1"})
NAMED = write(2, 2, fields={"name": "n2"})
COLORED = write(4, 3, fields={"color": "c3"})
DELETED = write(6, 4, kind="delete")
DOUBTFUL = replace(NAMED, outcome="doubt", position=None)
WRONG: Mapping[str, tuple[list[EntityOperation], str]] = {
    "a lost update": ([CREATED, NAMED, COLORED, read(9, name="n1", color="c3")], "the update was lost"),
    "a read below its position": ([CREATED, NAMED, replace(read(9, name="n1", color="c1"), presented=2)], "was lost"),
    "a replica that forgets its own write": (
        [CREATED, NAMED, replace(read(9, name="n1", color="c1"), replica="a")],
        "was lost",
    ),
    "a replica that goes back": (
        [CREATED, NAMED, read(5, name="n2", color="c1"), read(9, name="n1", color="c1")],
        "was lost",
    ),
    "a phantom": ([CREATED, read(9, name="n9", color="c1")], "by no client"),
    "a refused write that is shown": (
        [CREATED, replace(NAMED, outcome="refused", position=None), read(9, name="n2", color="c1")],
        "by a refused request",
    ),
    "a value from the future": (
        [CREATED, write(20, 9, fields={"name": "n9"}), read(9, name="n9", color="c1")],
        "after",
    ),
    "a field that is missing": ([CREATED, NAMED, replace(read(9, color="c1"), presented=2)], "shows no name"),
    "a deleted entity that is shown": (
        [CREATED, DELETED, replace(read(9, name="n1", color="c1"), presented=4)],
        "that was deleted",
    ),
    "an entity that is not shown": ([CREATED, replace(read(9), presented=1)], "shows no entity"),
    "an update of a deleted entity": ([CREATED, DELETED, write(8, 9, fields={"name": "n9"})], "there was no entity"),
    "a creation over an entity": ([CREATED, replace(CREATED, begin=5, end=6, position=5)], "an entity already"),
    "writes against real time": ([replace(CREATED, position=9), NAMED], "began after"),
    "replicas that differ": (
        [
            CREATED,
            DOUBTFUL,
            replace(read(20, name="n1", color="c1"), final=True),
            replace(read(20, name="n2", color="c1"), final=True, replica="a"),
        ],
        "differ in the end",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_rule_is_enforced(name: str) -> None:
    history, words = WRONG[name]

    assert any(words in line for line in violations(history)), violations(history)


def test_a_possible_history_has_no_violations() -> None:
    history = [
        CREATED,
        NAMED,
        read(3, name="n1", color="c1"),
        COLORED,
        read(5, name="n2", color="c3"),
        DOUBTFUL,
        DELETED,
        replace(read(9), presented=4),
        replace(CREATED, begin=10, end=11, position=7, fields={"name": "n7", "color": "c3"}),
        replace(read(12, name="n7", color="c3"), presented=7),
        replace(CREATED, begin=12, end=13, outcome="refused", position=None),
    ]

    assert violations(history) == []
