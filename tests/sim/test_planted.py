"""Bugs planted on purpose, one at a time, in the real code: the simulation must find each of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import pytest
import structlog

from airy import topics
from airy.actors import connector, sending
from airy.bus import loops
from airy.bus.api import Bus
from airy.bus.record import Emit, Record, TopicPartition
from airy.errors import Unavailable
from airy.http import ingress
from airy.model import fold
from airy.model.fact import Fact, MessageReceived
from airy.model.step import Step
from airy.sources.api import Failed, Lost, Outcome
from tests.kit.world import run_seeded
from tests.sim.checkers import problems
from tests.sim.world import DROP, Shape, World

WORLDS_MAX = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[DROP])


def acknowledge_before_durable(patch: pytest.MonkeyPatch) -> None:
    """200 first, then the append, which may fail."""
    take = ingress.Ingress._take

    async def careless(self: Any, headers: Any, receive: Any) -> None:
        try:
            await take(self, headers, receive)
        except Unavailable:
            return  # the answer is on its way already

    patch.setattr(ingress.Ingress, "_take", careless)


def commit_before_finish(patch: pytest.MonkeyPatch) -> None:
    """The router's position moves before its facts are durable."""
    publish = loops._publish

    async def hasty(bus: Bus, outputs: Any, dead_letter: Any) -> None:
        last: dict[TopicPartition, int] = {}
        for record, _ in outputs:
            last[record.where] = record.offset + 1
        for group in (f"sources.{name}.router" for name in topics.SOURCES):
            known = bus._group(group)  # type: ignore[attr-defined]
            await bus._storage.commit(known, last)  # type: ignore[attr-defined]
        await publish(bus, outputs, dead_letter)

    patch.setattr(loops, "_publish", hasty)


def fold_not_idempotent(patch: pytest.MonkeyPatch) -> None:
    """A message that is told again counts as unread again."""
    rule = fold.RULES[MessageReceived]

    def again(step: Step, fact: Fact) -> bool:
        if step.state.message(fact.message_id) is None:  # type: ignore[union-attr]
            return rule.apply(step, fact)
        step.conversation.unread_count += 1
        step.metadata_changed = True
        return True

    patch.setitem(fold.RULES, MessageReceived, fold.Rule(again, opens=True))


def blind_resend(patch: pytest.MonkeyPatch) -> None:
    """A lost answer is taken for a failure that may be tried again."""
    ended = sending.ended

    def eager(message: Any, outcome: Outcome, *more: Any) -> Fact:
        blind = Failed(kind="provider", error="no answer", again_s=0.0)
        return ended(message, blind if isinstance(outcome, Lost) else outcome, *more)

    patch.setattr(connector.sending, "ended", eager)


def unawaited_publish(patch: pytest.MonkeyPatch) -> None:
    """The router hands its facts to the log and does not wait for what becomes of them."""

    async def forgetful(bus: Bus, outputs: Sequence[tuple[Record, Sequence[Emit]]], _dead_letter: Any) -> None:
        try:
            await bus.publish([emit for _, emits in outputs for emit in emits])
        except Unavailable:
            return

    patch.setattr(loops, "_publish", forgetful)


PLANTED: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        acknowledge_before_durable,
        commit_before_finish,
        fold_not_idempotent,
        blind_resend,
        unawaited_publish,
    )
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[name](monkeypatch)

    async def live(seed: int) -> list[str]:
        world = World(seed, Shape())
        with anyio.fail_after(86_400):
            await world.live()
        return await problems(world)

    found: list[str] = []
    for seed in range(WORLDS_MAX):
        found = run_seeded(seed, live, seed)
        if found:
            break

    assert found, f"{name} was not found in {WORLDS_MAX} worlds"
