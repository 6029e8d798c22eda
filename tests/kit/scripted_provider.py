"""A small provider for any source: it takes messages, refuses them or leaves the caller without an answer, by script.

What it took it may report back as echo and receipts, posted as webhooks. No sockets; time passes by the event loop.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from airy.clock import Clock
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.model.delivery_state import DeliveryState
from airy.sources.spec import Capabilities
from tests.kit.providers.base import Request, Taken, Webhook, Wire, request_of

Post = Callable[[Webhook], Awaitable[None]]


STATES = {"sent": DeliveryState.SENT, "delivered": DeliveryState.DELIVERED, "read": DeliveryState.READ}


def delivery_states(capabilities: Capabilities) -> tuple[DeliveryState, ...]:
    """What a kind declares as receipts."""
    return tuple(STATES[name] for name in capabilities.receipts)


class Act(Enum):
    OK = "ok"
    RATE_LIMITED = "rate limited"
    BLOCKED = "the contact blocked us"
    TOKEN_REFUSED = "the token is refused"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    HANG = "hang"  # not taken, no answer
    TAKEN_SILENT = "taken and silent"
    CUT = "taken, and half an answer"
    BADLY_FRAMED = "taken, and an answer that is badly framed"


class Attempt(Struct, frozen=True):
    """One call that was a message."""

    at_ms: int
    act: Act
    taken: Taken
    kind: str
    provider_id: str | None  # None: it was not taken


class ScriptedProvider:
    """An `HttpClient` with one provider behind it. `script` is used up call by call, then every message is taken."""

    def __init__(self, wire: Wire, clock: Clock, *, kind: str | None = None, post: Post | None = None) -> None:
        self.wire = wire
        self.kind = kind or wire.kind
        self.script: deque[Act] = deque()
        self.requests: list[Request] = []  # all of them
        self.attempts: list[Attempt] = []
        self.delay_s = 7
        self.echoes = False
        self.receipts: tuple[DeliveryState, ...] = ()
        self.scripts_tokens = False  # whether the script is for token exchanges too
        self._clock = clock
        self.post = post

    @property
    def delivered(self) -> list[Attempt]:
        """What contacts saw."""
        return [attempt for attempt in self.attempts if attempt.provider_id is not None]

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        host = urlsplit(url).hostname or ""
        if host not in {self.wire.host, *self.wire.more_hosts}:
            raise AddressBlocked(f"{url} is not {self.wire.host}")
        request = request_of(method, url, headers, body)
        self.requests.append(request)
        taken = self.wire.taken(request)
        if self.wire.issues_token(request) and not self.scripts_tokens:
            return self.wire.managed(request)
        act = self.script.popleft() if self.script else Act.OK
        if act is Act.UNREACHABLE:
            await anyio.sleep(connect_s)
            raise ConnectFailed(f"{url} refused the connection")
        if taken is None:
            return await self._answered(act, self.wire.managed(request), url, total_s, body_bytes_max)
        number = len(self.attempts) + 1
        provider_id, told = self.wire.ok(self.kind, taken, number)
        delivers = act in {Act.OK, Act.TAKEN_SILENT, Act.CUT, Act.BADLY_FRAMED}
        attempt = Attempt(self._clock.now_ms(), act, taken, self.kind, provider_id if delivers else None)
        self.attempts.append(attempt)
        if delivers:
            await self._report(attempt)
        return await self._answered(act, told, url, total_s, body_bytes_max)

    async def _answered(self, act: Act, told: Response, url: str, total_s: float, body_bytes_max: int) -> Response:
        match act:
            case Act.RATE_LIMITED:
                return self.wire.rate_limited(self.delay_s)
            case Act.BLOCKED:
                return self.wire.contact_blocked()
            case Act.TOKEN_REFUSED:
                return self.wire.token_refused()
            case Act.BUSY:
                return Response(503, {"retry-after": str(self.delay_s)}, b"busy")
            case Act.HANG | Act.TAKEN_SILENT:
                await anyio.sleep(total_s)
                raise ResponseLost(f"{url} did not answer within {total_s:g} s")
            case Act.BADLY_FRAMED:
                raise ResponseLost(f"{url}: the answer is incomplete or badly framed", received=told)
            case Act.CUT:
                return Response(told.status, told.headers, told.body[: len(told.body) // 2])
        return Response(told.status, told.headers, told.body[:body_bytes_max])

    async def _report(self, attempt: Attempt) -> None:
        if self.post is None or attempt.provider_id is None:
            return
        now_ms = self._clock.now_ms()
        webhooks = [self.wire.receipt(self.kind, attempt.provider_id, state, now_ms) for state in self.receipts]
        if self.echoes:
            webhooks.insert(0, self.wire.echo(self.kind, attempt.provider_id, attempt.taken, now_ms))
        for webhook in webhooks:
            if webhook is not None:
                await self.post(webhook)
