"""Plants known bugs in the real code, one at a time: the simulation must find each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import pytest

from airy import topics
from airy.actors import message_sender, send_facts
from airy.bus import loops
from airy.bus.api import Bus
from airy.bus.record import ProducerRecord, Record, TopicPartition
from airy.errors import Unavailable
from airy.http import ingress
from airy.http_client import HttpClient, Response
from airy.model import fold
from airy.model.fact import Fact, MessageReceived
from airy.model.fold_context import FoldContext
from airy.queue.api import Job
from airy.sources.api import EMPTY_REPLY, Failed, Lost, Outcome, WebhookReply
from airy.webhooks import send
from airy.webhooks.request import DeliveryTarget, request_headers
from tests.kit.event_loops import run_seeded
from tests.sim import simulation
from tests.sim.checkers import problems
from tests.sim.simulation import Simulation, SimulationSize

SEEDS_MAX = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Answers 200 before the append, which may fail."""
    accept = ingress.Ingress._accept

    async def careless(self: Any, scope: Any, receive: Any) -> WebhookReply:
        try:
            return await accept(self, scope, receive)
        except Unavailable:
            return EMPTY_REPLY

    patch.setattr(ingress.Ingress, "_accept", careless)


def commit_before_finish(patch: pytest.MonkeyPatch) -> None:
    """The router commits before its facts are durable."""
    publish = loops._publish

    async def hasty(bus: Bus, outputs: Any, dead_letter: Any) -> None:
        last: dict[TopicPartition, int] = {}
        for record, _ in outputs:
            last[record.topic_partition] = record.offset + 1
        for group in (topics.source_group(name, "router") for name in topics.SOURCE_NAMES):
            known = bus._group(group)  # type: ignore[attr-defined]
            await bus._storage.commit(known, last)  # type: ignore[attr-defined]
        await publish(bus, outputs, dead_letter)

    patch.setattr(loops, "_publish", hasty)


def fold_not_idempotent(patch: pytest.MonkeyPatch) -> None:
    """A repeated message increments the unread count again."""
    rule = fold.RULES[MessageReceived]

    def again(context: FoldContext, fact: Fact) -> bool:
        if context.state.message(fact.message_id) is None:  # type: ignore[union-attr]
            return rule.apply(context, fact)
        context.conversation.unread_count += 1
        context.metadata_changed = True
        return True

    patch.setitem(fold.RULES, MessageReceived, rule._replace(apply=again))


def blind_resend(patch: pytest.MonkeyPatch) -> None:
    """A lost answer counts as a failure that may be retried."""
    ended = send_facts.ended

    def eager(message: Any, outcome: Outcome, *more: Any) -> Fact:
        blind = Failed(kind="provider", error="no answer", again_s=0.0)
        return ended(message, blind if isinstance(outcome, Lost) else outcome, *more)

    patch.setattr(message_sender.send_facts, "ended", eager)


def unawaited_publish(patch: pytest.MonkeyPatch) -> None:
    """The router does not wait until its facts are durable."""

    async def forgetful(
        bus: Bus, outputs: Sequence[tuple[Record, Sequence[ProducerRecord]]], _dead_letter: Any
    ) -> None:
        try:
            await bus.publish([record for _, records in outputs for record in records])
        except Unavailable:
            return

    patch.setattr(loops, "_publish", forgetful)


def body_decides(patch: pytest.MonkeyPatch) -> None:
    """A 2xx whose body is badly framed counts as a failed delivery. An endpoint that never frames correctly then has
    retries for days; without the bug these simulations are quiescent within the hour.
    """
    patch.setattr(simulation, "QUIESCENT_WITHIN_S", 3_600.0)

    async def strict(http: HttpClient, target: DeliveryTarget, job: Job, now_ms: int, _: object) -> Response:
        return await http("POST", target.url, headers=request_headers(target, job, now_ms), body=job.entry.body)

    patch.setattr(send, "_post", strict)


PLANTED: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        acknowledge_before_durable,
        commit_before_finish,
        fold_not_idempotent,
        blind_resend,
        unawaited_publish,
        body_decides,
    )
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[name](monkeypatch)

    async def run(seed: int) -> list[str]:
        world = Simulation(seed, SimulationSize())
        with anyio.fail_after(86_400):
            await world.run()
        return await problems(world)

    found: list[str] = []
    for seed in range(SEEDS_MAX):
        found = run_seeded(seed, run, seed)
        if found:
            break

    assert found, f"{name} was not found in {SEEDS_MAX} simulations"
