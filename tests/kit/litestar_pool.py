"""Litestar applications that tests use one after another: building one costs 0.1 s of processor time, a request 1 ms.

A handler reaches the parts of a harness, such as the commands, through the application that its harness leased.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from litestar import Litestar

from airy.http.edge_litestar import LitestarParts, build_litestar
from airy.http.resource import Resource


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

    def __init__(self, resources: Sequence[Resource], parts: LitestarParts) -> None:
        self.resources = resources
        self.parts = parts
        self._login = parts.login
        api: Any = _LatePart(lambda: self.parts.api)
        api.health = _LatePart(lambda: self.parts.api.health)  # `litestar_app` reads it
        reader: Any = _LatePart(lambda: self.parts.reader)
        guard: Any = _LatePart(lambda: self.parts.guard)
        samples: Any = _LatePart(lambda: self.parts.samples)
        self.litestar = build_litestar(
            resources, LitestarParts(api=api, reader=reader, guard=guard, login=self._login, samples=samples)
        )

    def bind(self, parts: LitestarParts) -> None:
        self.parts = parts
        if self._login is not None:
            vars(self._login).update(vars(parts.login))  # its handlers are methods of this object


_free: dict[tuple[int, ...], deque[_LeasedApp]] = {}  # by whether logins are served, and the resources' ids


@contextmanager
def leased_app(resources: Sequence[Resource], parts: LitestarParts) -> Iterator[Litestar]:
    """An application with these resources that no other harness uses. After an error it is not used again."""
    free = _free.setdefault((parts.login is not None, *map(id, resources)), deque())
    if free:
        leased = free.pop()
        leased.bind(parts)
    else:
        leased = _LeasedApp(resources, parts)
    yield leased.litestar
    free.append(leased)
