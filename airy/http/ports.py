"""What the edge needs from the rest of the process, as protocols and values; whoever composes the process
provides them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import anyio
from msgspec import Struct

from airy.actors.commands import Commands, Reached
from airy.actors.webhooks.queue import WebhookQueue
from airy.clock import Clock, Ids
from airy.components import Service
from airy.http.asgi import RawHeaders
from airy.model.process import ProcessStatus
from airy.sources.api import Accepted, Denied
from airy.store.api import Store


class Verifier(Protocol):
    """The part of a source that ingress uses."""

    name: str

    def handshake(self, query: Mapping[str, str]) -> str | Denied: ...
    def verify(self, headers: RawHeaders, body: bytes) -> Accepted | Denied: ...


class Lifetime(Protocol):
    """What the server needs from whoever supervises it; an actor's context fits."""

    @property
    def draining(self) -> anyio.Event: ...
    def ready(self) -> None: ...
    def waiting(self) -> AbstractContextManager[None]: ...
    def cleanup(self) -> AbstractContextManager[anyio.CancelScope]: ...


class Known(Struct, frozen=True):
    """What a process said last, and how long ago; `silent`: for so long that it counts for nothing."""

    status: ProcessStatus
    age_s: float
    silent: bool


class Share(Struct, frozen=True):
    """In how many processes a component runs, and in how many of them it is known to be ready."""

    processes: int
    ready: int


class Fleet(Struct, frozen=True):
    """Every process of the installation, and what becomes of each component."""

    processes: Sequence[Known] = ()
    components: Mapping[str, Share] = {}


class Status(Protocol):
    """How the process is, and the installation it is of."""

    def alive(self) -> bool:
        """Whether restarting the process would not help."""
        ...

    def waiting_for(self) -> Mapping[str, str]:
        """What keeps it from serving, by name and reason; empty: it is ready."""
        ...

    def services(self) -> Mapping[str, Service]: ...
    def fleet(self) -> Fleet: ...


class Edge(Struct, frozen=True, kw_only=True):
    """The ports, bundled: what every handler gets."""

    commands: Commands
    store: Store
    queue: WebhookQueue
    reached: Reached
    status: Status
    clock: Clock
    ids: Ids
    version: str
    read_wait_s: float = 5.0
    caught_up: Callable[[], bool] = lambda: True  # whether the store has what was in the log at the start
