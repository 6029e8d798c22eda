"""Visitors at two replicas over one log: of the uses of one resume token the log decides."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import anyio
import pytest
from anyio.abc import TaskGroup
from msgspec import Struct

from airy import topics
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.commands import RequestContext, Unauthenticated, VisitorCommands, VisitorSettings, VisitStart, Writer
from airy.commands.visitor_tokens import VisitorTokens
from airy.commands.visitors import OVERLAP_MS
from airy.errors import Unavailable
from airy.model import ids
from airy.model.entity import Channel
from airy.seal import Sealer
from airy.store.guarded_queries import GuardedQueries
from airy.store.sqlite import SqliteStore
from tests.kit.builders import raw

SHOP = Channel(id=ids.derive("shop"), source="chatplugin", source_channel_id="shop", connected=True)
CURRENT_S = 5.0


class Replica(Struct):
    visitors: VisitorCommands
    projector: Projector
    tasks: TaskGroup
    clock: LoopClock
    folding: anyio.CancelScope | None = None

    def fold(self) -> None:
        self.folding = anyio.CancelScope()
        self.tasks.start_soon(self._fold, self.folding)

    def pause(self) -> None:
        assert self.folding is not None
        self.folding.cancel()

    async def _fold(self, scope: anyio.CancelScope) -> None:
        with scope:
            await self.projector.run(Context("store", clock=self.clock, random=Random(1)))

    async def resume(self, token: str) -> VisitStart:
        return await self.visitors.resume(token, None, None, RequestContext(caller="", request_id="r"))


@asynccontextmanager
async def replicas() -> AsyncIterator[tuple[Replica, Replica]]:
    clock, new_ids = LoopClock(), RandomIds(Random(1))
    bus = MemoryBus(topics.ALL, clock=clock)
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        made = [await _replica(bus, clock, new_ids, stack, tasks) for _ in range(2)]
        await bus.publish([topics.CHANNELS.record(SHOP.id, SHOP)])
        for each in made:
            each.fold()
        await anyio.sleep(1)
        yield made[0], made[1]
        tasks.cancel_scope.cancel()


async def _replica(
    bus: MemoryBus, clock: LoopClock, new_ids: RandomIds, stack: AsyncExitStack, tasks: TaskGroup
) -> Replica:
    store = SqliteStore(":memory:")
    await store.open()
    stack.push_async_callback(store.close)
    projector = Projector(bus, store)

    async def current(conversation_id: str) -> bool:
        partition = topics.EVENTS.partition(conversation_id)
        return await projector.wait_until_current([topics.EVENTS], CURRENT_S, partition=partition)

    writer = Writer(bus, projector.wait_for_position, clock, new_ids, held=projector.held)
    tokens = VisitorTokens(Sealer({"k1": bytes(32)}), clock.now_ms)
    queries = GuardedQueries(store, projector.held)
    return Replica(VisitorCommands(writer, queries, tokens, VisitorSettings(current=current)), projector, tasks, clock)


async def spoken(replica: Replica) -> VisitStart:
    """A visit in which the visitor has written."""
    visit = await replica.visitors.begin(SHOP.id, None)
    opened = replica.visitors.tokens.read_visit(visit.token)
    assert opened is not None
    await replica.visitors.send(opened, raw({"text": "hello"}), RequestContext(caller="v", request_id="r"), None)
    return visit


async def test_two_replicas_that_are_shown_one_token_at_once_replace_it_by_one() -> None:
    async with replicas() as (one, two):
        visit = await spoken(one)
        answers: list[VisitStart] = []

        async def resume(replica: Replica) -> None:
            answers.append(await replica.resume(visit.resume_token))

        async with anyio.create_task_group() as tasks:
            for replica in (one, two, one, two):
                tasks.start_soon(resume, replica)
        assert len({answer.resume_token for answer in answers}) == 1
        assert all(len(answer.messages) == 1 for answer in answers)
        await anyio.sleep(OVERLAP_MS / 1000 + 1)
        await two.resume(answers[0].resume_token)
        with pytest.raises(Unauthenticated):
            await one.resume(visit.resume_token)
        with pytest.raises(Unauthenticated):
            await two.resume(answers[0].resume_token)


async def test_a_replica_that_lags_knows_of_a_replaced_token_before_it_judges() -> None:
    async with replicas() as (one, two):
        two.pause()
        visit = await spoken(one)
        await one.resume(visit.resume_token)
        await anyio.sleep(OVERLAP_MS / 1000 + 1)
        outcomes: list[type[Exception]] = []

        async def resume() -> None:
            try:
                await two.resume(visit.resume_token)
            except (Unauthenticated, Unavailable) as error:
                outcomes.append(type(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resume)
            two.fold()
        assert outcomes == [Unauthenticated]
