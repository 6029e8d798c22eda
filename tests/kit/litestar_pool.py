"""Litestar applications that tests use one after another: building one costs 0.1 s of processor time, a request 1 ms.

A handler reaches the parts of a harness, such as the commands, through the application that its harness leased.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from litestar import Litestar
from msgspec import Struct

from airy.http.app import litestar_app
from airy.http.auth import Guard
from airy.http.body_reader import BodyReader
from airy.http.login.routes import LoginRoutes
from airy.http.metrics import route as metrics_route
from airy.http.ports import ApiContext
from airy.http.resource import Resource

Samples = Mapping[str, float | Mapping[str, float]]


class AppParts(Struct, frozen=True, kw_only=True):
    """What the handlers of an application reach."""

    api: ApiContext
    reader: BodyReader
    guard: Guard
    login: LoginRoutes
    samples: Callable[[], Awaitable[Samples]]


class _LatePart:
    """A part of the harness that uses the application, looked up at each use."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    async def __call__(self, *arguments: Any) -> Any:
        return await self._find()(*arguments)


class _LeasedApp:
    """`resources` are kept: their identities are the key of the pool."""

    def __init__(self, resources: Sequence[Resource], parts: AppParts) -> None:
        self.resources = resources
        self.parts = parts
        self._login = parts.login
        api: Any = _LatePart(lambda: self.parts.api)
        api.health = _LatePart(lambda: self.parts.api.health)  # `litestar_app` reads it
        reader: Any = _LatePart(lambda: self.parts.reader)
        guard: Any = _LatePart(lambda: self.parts.guard)
        samples: Any = _LatePart(lambda: self.parts.samples)
        self.litestar = litestar_app(api, reader, guard, resources, [metrics_route(samples), *self._login.handlers()])

    def bind(self, parts: AppParts) -> None:
        self.parts = parts
        vars(self._login).update(vars(parts.login))  # its handlers are methods of this object


_free: dict[tuple[int, ...], deque[_LeasedApp]] = {}  # by the identities of the resources


@contextmanager
def leased_app(resources: Sequence[Resource], parts: AppParts) -> Iterator[Litestar]:
    """An application with these resources that no other harness uses. After an error it is not used again."""
    free = _free.setdefault(tuple(map(id, resources)), deque())
    if free:
        leased = free.pop()
        leased.bind(parts)
    else:
        leased = _LeasedApp(resources, parts)
    yield leased.litestar
    free.append(leased)
