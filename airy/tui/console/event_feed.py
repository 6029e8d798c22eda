"""Follows `/events` of an instance and resumes where it ended, so that no event is missed.

The feed holds at most `events_max` events that were not taken; then it stops reading, and the instance serves the rest
from its store. `state` says whether what is shown is current.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import anyio
import msgspec
from msgspec import Raw, Struct

from airy.errors import Refused, Unavailable

EVENTS_MAX = 2_000
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between attempts to connect; the last one repeats
NO_EVENTS = frozenset({"ready", "resync", "position"})

Phase = Literal["connecting", "live", "broken", "refused"]


class ShownEvent(Struct, frozen=True):
    """One event; `resume` is where to continue after it, `body` its JSON."""

    id: str
    type: str
    resume: str
    timestamp: int = 0  # ms since 1970
    payload: Raw = Raw(b"null")
    body: bytes = b""


class FeedState(Struct, frozen=True):
    """`since_s`: on the event loop's clock, since when it is in this phase. `reason`: why it is not live."""

    phase: Phase
    since_s: float
    reason: str = ""


class _Envelope(Struct, frozen=True):
    type: str
    resume: str
    id: str = ""
    timestamp: int = 0
    reason: str = ""
    payload: Raw = Raw(b"null")


class EventSource(Protocol):
    """Where events come from."""

    def open(self, resume: str | None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A connection: one JSON text for each event after `resume`. Raises `Refused`, `Unavailable`."""
        ...


class EventFeed:
    """`run` it in a task; `take` what arrived. `resyncs` counts how often the state has to be read anew.

    `resume`: where to begin; None: from now on.
    """

    def __init__(self, source: EventSource, *, events_max: int = EVENTS_MAX, resume: str | None = None) -> None:
        self.resyncs = 0
        self.refusal: Refused | None = None
        self.received = 0
        self._source = source
        self._events_max = events_max
        self._events: list[ShownEvent] = []
        self._taken = anyio.Event()
        self._changed = anyio.Event()
        self._resume = resume
        self._state: FeedState | None = None

    @property
    def state(self) -> FeedState:
        if self._state is None:
            self._state = FeedState("connecting", anyio.current_time())
        return self._state

    def take(self) -> list[ShownEvent]:
        """The events that arrived since the last call, in order."""
        events, self._events = self._events, []
        self._taken.set()
        self._taken = anyio.Event()
        return events

    async def wait(self) -> None:
        """Until an event arrives that was not taken, or the state changes."""
        if not self._events:
            await self._changed.wait()

    async def run(self) -> None:
        """Never returns before it is cancelled, unless the instance refuses the token."""
        failures = 0
        while True:
            before = self.received
            try:
                await self._follow()
                self._enter("broken", "the instance closed the connection")
            except Refused as error:
                self.refusal = error
                self._enter("refused", str(error))
                return
            except Unavailable as error:
                self._enter("broken", str(error))
            failures = 0 if self.received > before else failures + 1
            await anyio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])

    async def _follow(self) -> None:
        async with self._source.open(self._resume) as texts:
            async for text in texts:
                await self._accept(text)

    async def _accept(self, text: bytes) -> None:
        try:
            given = msgspec.json.decode(text, type=_Envelope)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"an event that cannot be read: {error}") from error
        if given.type == "resync":
            self.resyncs += 1
        if given.type not in NO_EVENTS:
            while len(self._events) >= self._events_max:
                await self._taken.wait()
            self._events.append(ShownEvent(given.id, given.type, given.resume, given.timestamp, given.payload, text))
            self._notify()
        self.received += 1
        self._resume = given.resume
        if self.state.phase != "live":
            self._enter("live", "")

    def _enter(self, phase: Phase, reason: str) -> None:
        before = self.state
        since_s = before.since_s if before.phase == phase else anyio.current_time()
        self._state = FeedState(phase, since_s, reason)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
