"""What the HTTP API needs from the rest of the process, as protocols and values. `airy.app` provides them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import anyio
from msgspec import Struct

from airy.actors.change_feed import ChangeFeed
from airy.actors.process_logs import ProcessLogs
from airy.clock import Clock, Ids
from airy.commands import Commands, DeadLetterCommands, EndpointTests, TopicBrowser, WaitForPosition
from airy.commands.message_traces import MessageTracer
from airy.components import Service
from airy.lifecycle import Lifecycle
from airy.live_config.live_config import LiveConfig
from airy.media.library import MediaLibrary
from airy.model.fleet import FleetStatus
from airy.model.process_status import ActorTree
from airy.queue.api import WebhookQueue
from airy.sources.api import Accounts, Verdict, WebhookRequest
from airy.sources.spec import SourceSpec
from airy.store.api import StoreQueries


class Verifier(Protocol):
    """The part of a source that ingress uses."""

    @property
    def spec(self) -> SourceSpec: ...
    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict: ...


class ServerLifecycle(Lifecycle, Protocol):
    """What the server needs from its supervisor; an actor's context implements it."""

    def cleanup(self) -> AbstractContextManager[anyio.CancelScope]: ...


class ProcessHealth(Protocol):
    """Health of this process and of the installation."""

    def alive(self) -> bool:
        """False: only a restart would help."""
        ...

    def waiting_for(self) -> Mapping[str, str]:
        """Reasons why the process is not ready, by the name of the part; empty: it is ready."""
        ...

    def services(self) -> Mapping[str, Service]: ...
    def fleet(self) -> FleetStatus: ...
    def actors(self) -> ActorTree:
        """The supervision tree of this process."""
        ...


class ApiContext(Struct, frozen=True, kw_only=True):
    """The ports as one value, passed to every handler."""

    commands: Commands
    store: StoreQueries
    queue: WebhookQueue
    dead_letters: DeadLetterCommands
    endpoint_tests: EndpointTests
    message_traces: MessageTracer
    topics: TopicBrowser
    logs: ProcessLogs
    wait_for_position: WaitForPosition
    changes: ChangeFeed
    media: MediaLibrary
    health: ProcessHealth
    configuration: LiveConfig
    clock: Clock
    ids: Ids
    version: str
    installation: str = ""  # the same in every process of an installation; not a secret
    read_wait_s: float = 5.0
    caught_up: Callable[[], bool] = lambda: True  # whether everything that was in the log at the start is folded
