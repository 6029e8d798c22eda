"""The topics of a fake Airy instance: a log in memory, read by the code that serves `/topics.*`."""

from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from airy import topics
from airy.bus.memory import MemoryBus
from airy.bus.record import Headers, ProducerRecord
from airy.clock import Clock
from airy.commands import RequestContext, TopicBrowser
from airy.errors import Refused
from airy.http import topics as routes
from airy.http.action import Action, ActionRequest
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of, render
from airy.http.request_bodies import convert
from airy.http_client import Response

REQUEST = RequestContext(caller="console", request_id="r", key=None)


class FixedClock:
    """Stands still, so that ages are the same at every run."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms


class FakeTopics:
    def __init__(self, now_ms: int) -> None:
        clock: Clock = FixedClock(now_ms)
        self.bus = MemoryBus(topics.ALL, clock=clock)
        self._written: list[Callable[[], Awaitable[object]]] = []  # before the first question
        self._api = cast("ApiContext", SimpleNamespace(topics=TopicBrowser(self.bus, clock)))

    def record(
        self, topic: str, partition: int, key: str, value: bytes | None, at_ms: int, headers: Headers = ()
    ) -> None:
        record = ProducerRecord(topic, partition, key.encode(), value, headers, at_ms)
        self._written.append(partial(self.bus.publish, [record]))

    def committed(self, group: str, topic: str, records: int) -> None:
        """A member of the group has committed the first ones of what it reads."""
        self._written.append(partial(self._commit, group, topic, records))

    async def _commit(self, group: str, topic: str, records: int) -> None:
        async with self.bus.subscribe([topics.BY_NAME[topic]], group=group) as member:
            read = await member.fetch(records_max=records, wait_s=0)
            await member.commit({record.topic_partition: record.offset + 1 for record in read})

    async def answer(self, path: str, body: dict[str, Any]) -> Response | None:
        """None for another path."""
        route = {"/topics.list": routes.list_, "/topics.browse": routes.browse}.get(path)
        if route is None:
            return None
        while self._written:
            await self._written.pop(0)()
        given = convert(body, routes.BrowseTopic) if route is routes.browse else None
        return await answered(route, self._api, given)


async def answered(route: Action, api: ApiContext, given: object) -> Response:
    """What a handler answers, as HTTP would."""
    try:
        reply = await route.handler(api, ActionRequest(given, REQUEST))
    except (Refused, Problem) as error:
        status, _, content = render(problem_of(error))
        return Response(status, {}, content)
    return Response(200, {"content-type": "application/json"}, msgspec.json.encode(reply.body))
