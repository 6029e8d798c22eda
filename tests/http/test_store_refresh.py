"""Credentials that another process has just created are accepted, and invented ones cost one query of the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.runtime import Context
from airy.clock import LoopClock
from airy.errors import Unavailable
from airy.http.store_refresh import StoreRefresh
from airy.model.api_token import token_sha256, token_text
from airy.model.entity import User, UserSession
from airy.model.session import session_sha256, session_token
from tests.kit.api import DAY_MS, ORIGIN, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.builders import START_MS, api_token


class Log:
    """Counts queries; each takes a second."""

    def __init__(self) -> None:
        self.queries = 0
        self.answers: list[bool | Exception] = []

    async def wait_until_current(self) -> bool:
        self.queries += 1
        answer = self.answers.pop(0) if self.answers else True
        await anyio.sleep(1)
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def folding_later(api: ApiHarness) -> AsyncIterator[None]:
    """The store of this process is behind, and catches up half a second later."""

    async def fold() -> None:
        await anyio.sleep(0.5)
        await api.projector.run(Context("store", clock=LoopClock(), random=Random(0)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fold)
        yield
        tasks.cancel_scope.cancel()


async def test_calls_during_a_refresh_share_the_next_one() -> None:
    log = Log()
    refresh, ended = StoreRefresh(log.wait_until_current), list[float]()
    start = anyio.current_time()

    async def one(after_s: float) -> None:
        await anyio.sleep(after_s)
        await refresh()
        ended.append(anyio.current_time() - start)

    async with anyio.create_task_group() as tasks:
        for after_s in (0, 0.1, 0.2, 0.9):
            tasks.start_soon(one, after_s)
    assert (log.queries, ended) == (2, [1, 2, 2, 2])


async def test_a_failed_or_cancelled_refresh_is_repeated_by_those_that_wait() -> None:
    log = Log()
    log.answers = [Unavailable("away"), False, True]
    refresh, outcomes = StoreRefresh(log.wait_until_current), list[str]()

    async def one(after_s: float) -> None:
        await anyio.sleep(after_s)
        try:
            await refresh()
            outcomes.append("current")
        except Unavailable as error:
            outcomes.append(str(error)[:4])

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(one, number / 10)
    assert outcomes == ["away", "this", "current"]
    with anyio.move_on_after(0.5):
        await refresh()
    await refresh()
    assert log.queries == 5


async def test_a_token_that_another_process_has_just_created_is_accepted() -> None:
    async with api_harness(projecting=False) as api:
        text = token_text(api_token().id, bytes(32))
        entity = replace(api_token(), revoked_at_ms=None, expires_at_ms=START_MS + 2 * DAY_MS)
        known = replace(entity, sha256=token_sha256(text.encode()))
        await api.bus.publish([topics.API_TOKENS.record(known.id, known)])
        async with folding_later(api):
            assert (await api.post("/tags.list", authorization=text)).status == 200


async def test_a_session_that_another_process_has_just_begun_is_accepted() -> None:
    async with api_harness(projecting=False) as api:
        token = session_token("x:1", bytes(32))
        session = UserSession(
            id="s", sha256=session_sha256(token.encode()), created_at_ms=1, expires_at_ms=START_MS + 2 * DAY_MS
        )
        user = User(id="x:1", email="bob@example.org", sessions=(session,))
        await api.bus.publish([topics.USERS.record(user.id, user)])
        headers = [("cookie", f"airy_auth_token={token}"), ("origin", ORIGIN)]
        async with folding_later(api):
            assert (await call(api.app, "POST", "/tags.list", headers=headers)).status == 200


@pytest.mark.parametrize("token", ["wrong", "a.b.c"])
async def test_a_store_that_lags_asks_to_retry_only_for_what_could_be_a_credential(token: str) -> None:
    async with api_harness(projecting=False, wait_s=0.5) as api:
        await api.bus.publish([topics.USERS.record("x:1", User(id="x:1"))])
        assert (await api.post("/tags.list", authorization=token)).status == 403
        invented = token_text(api_token().id, bytes(32))
        assert (await api.post("/tags.list", authorization=invented)).status == 503
