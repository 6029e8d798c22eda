"""Logins and logouts at two replicas with stores of their own: the log decides, and both end with the same sessions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from airy import topics
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.commands import Conflict, UserProfile, Writer
from airy.commands.users import UserCommands
from airy.model.entity import User
from airy.store.sqlite import SqliteStore
from tests.kit.builders import START_MS

ADA = UserProfile(id="acme:ada@example.org", name="Ada", email="ada@example.org")


class Replica:
    def __init__(self, users: UserCommands, store: SqliteStore) -> None:
        self.users = users
        self._store = store

    async def user(self) -> User:
        found = await self._store.user(ADA.id)
        assert found is not None
        return found


@asynccontextmanager
async def replicas(count: int = 2) -> AsyncIterator[list[Replica]]:
    clock = LoopClock(START_MS)
    bus = MemoryBus(topics.ALL, clock=clock)
    made, stores = list[Replica](), [SqliteStore(":memory:") for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        for number, store in enumerate(stores):
            await store.open()
            projector = Projector(bus, store)
            tasks.start_soon(projector.run, Context("store", clock=clock, random=Random(number)))
            writer = Writer(bus, projector.wait_for_position, clock, RandomIds(Random(number)))
            made.append(Replica(UserCommands(writer, store), store))
        yield made
        tasks.cancel_scope.cancel()
    for store in stores:
        await store.close()


async def test_of_two_completions_of_one_login_one_begins_a_session() -> None:
    outcomes: list[str] = []

    async def log_in(replica: Replica) -> None:
        try:
            await replica.users.log_in(ADA, login_id="the-login", valid_s=60)
            outcomes.append("session")
        except Conflict:
            outcomes.append("replay")

    async with replicas() as both:
        async with anyio.create_task_group() as tasks:
            for replica in both:
                tasks.start_soon(log_in, replica)
        await anyio.sleep(1)
        assert sorted(outcomes) == ["replay", "session"]
        assert [[each.id for each in (await replica.user()).sessions] for replica in both] == [["the-login"]] * 2


async def test_concurrent_logins_and_a_logout_are_all_kept() -> None:
    async with replicas() as (one, other):
        await one.users.log_in(ADA, login_id="first", valid_s=60)
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: one.users.log_in(ADA, login_id="second", valid_s=60))
            tasks.start_soon(lambda: other.users.log_in(ADA, login_id="third", valid_s=60))
            tasks.start_soon(lambda: other.users.log_out(ADA.id, "first"))
        await anyio.sleep(1)
        users = [await one.user(), await other.user()]
        assert users[0] == users[1]
        states = {each.id: each.revoked_at_ms is None for each in users[0].sessions}
        assert states == {"first": False, "second": True, "third": True}


async def test_a_login_that_was_ended_cannot_be_repeated() -> None:
    async with replicas(1) as (only,):
        await only.users.log_in(ADA, login_id="first", valid_s=60)
        await only.users.log_out(ADA.id)
        with pytest.raises(Conflict):
            await only.users.log_in(ADA, login_id="first", valid_s=60)
