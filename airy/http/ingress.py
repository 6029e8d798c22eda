"""Provider webhooks in: verify the raw bytes, append them to the log, answer. A raw ASGI handler per
source.

Nothing is parsed here: a body that cannot be read is the router's business, and it is stored before anybody
tries. 200 is sent only after `publish` returned, so what was acknowledged is durable (G1); too much at once
is refused before it is taken (G9). Dispatched in front of the application, which would cost as much again
as the whole request.
"""

from urllib.parse import parse_qsl

import anyio
import structlog
from msgspec import Struct

from airy import topics, trace
from airy.bus.api import Bus
from airy.bus.record import Headers
from airy.clock import Clock, Ids
from airy.errors import Unavailable
from airy.http.asgi import RawHeaders, Receive, Scope, Send
from airy.http.bodies import BodyReader
from airy.http.ports import Verifier
from airy.http.problems import Problem, problem_of, render, unavailable
from airy.http.sharing import SharedPublish
from airy.sources.api import Denied

NOTICED_HEADERS = {name.encode(): name for name in ("content-type", "content-encoding")}
TRACEPARENT = trace.HEADER.encode()
KEPT_BYTES_MAX = 256  # of one header's value

OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}

NOT_ALLOWED = Problem(405, "providers post their events here", headers=[(b"allow", b"GET, POST")])

log = structlog.get_logger("airy.http")


class GateLimits(Struct, frozen=True, kw_only=True):
    in_flight_max: int = 1_024  # appends under way at once
    queue_max: int = 4_096  # requests waiting for one of those
    queue_s: float = 0.25


class IngressCounts:
    """Totals since start."""

    __slots__ = ("accepted", "accepted_bytes", "denied", "failed", "requests", "shed", "unavailable")

    def __init__(self) -> None:
        self.requests = self.accepted = self.accepted_bytes = 0
        self.denied = self.shed = self.unavailable = self.failed = 0


class Gate:
    """At most so many inside at once and so many waiting, none of them long: beyond that, shed. Shared by all
    sources.
    """

    def __init__(self, limits: GateLimits | None = None) -> None:
        self._limits = limits or GateLimits()
        self._free = self._limits.in_flight_max
        self._waiting: dict[anyio.Event, None] = {}

    async def enter(self) -> bool:
        if self._free:
            self._free -= 1
            return True
        if len(self._waiting) >= self._limits.queue_max:
            return False
        turn = anyio.Event()
        self._waiting[turn] = None
        try:
            with anyio.move_on_after(self._limits.queue_s):
                await turn.wait()
        except BaseException:  # cancelled: a turn that was handed over must not be lost
            if not self._forget(turn):
                self.leave()
            raise
        return not self._forget(turn)

    def leave(self) -> None:
        """Hand the place to who waits longest."""
        if self._waiting:
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            turn.set()
        else:
            self._free += 1

    def _forget(self, turn: anyio.Event) -> bool:
        """Whether it still waited."""
        return self._waiting.pop(turn, self) is None


class Ingress:
    """The endpoint of one source."""

    def __init__(self, source: Verifier, bus: Bus, *, clock: Clock, ids: Ids, gate: Gate, reader: BodyReader) -> None:
        self._source = source
        self._shared = SharedPublish(bus)
        self._clock = clock
        self._gate = gate
        self._reader = reader
        self._topic = topics.source_events(source.name)
        self._process = ids.new()[:18]  # with a count behind it, an id for each request
        self.counts = IngressCounts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            match scope["method"]:
                case "POST":
                    await self._take(scope["headers"], receive)
                    await send(OK)
                    await send(EMPTY)
                case "GET":
                    await _answer_text(send, self._shake_hands(scope["query_string"]))
                case _:
                    await answer_problem(send, NOT_ALLOWED)
        except Exception as error:  # noqa: BLE001 - the edge of the process: an answer, and a log line if it is a bug
            await self._fail(error, send)

    async def _take(self, headers: RawHeaders, receive: Receive) -> None:
        counts = self.counts
        counts.requests += 1
        kept = self._kept(headers)
        now_ms = self._clock.now_ms()
        body = await self._reader.read(receive, headers)
        verdict = self._source.verify(headers, body)
        if isinstance(verdict, Denied):
            counts.denied += 1
            raise Problem(verdict.status, verdict.reason)
        emit = self._topic.emit(verdict.account, body, headers=kept, timestamp_ms=now_ms)
        if not await self._gate.enter():
            counts.shed += 1
            raise unavailable("too much at once")
        try:
            await self._shared.publish(emit)
        finally:
            self._gate.leave()
        counts.accepted += 1
        counts.accepted_bytes += len(body)

    def _kept(self, headers: RawHeaders) -> Headers:
        request_id = f"{self._process}-{self.counts.requests:x}"
        given = [value for name, value in headers if name == TRACEPARENT]
        kept = [("request-id", request_id.encode()), (trace.HEADER, trace.continued(given, request_id).header.encode())]
        for name, value in headers:
            if name in NOTICED_HEADERS:
                if name == b"content-encoding":
                    raise Problem(415, "compressed bodies are not taken: send it without content-encoding")
                kept.append((NOTICED_HEADERS[name], value[:KEPT_BYTES_MAX]))
        return tuple(kept)

    def _shake_hands(self, query: bytes) -> str:
        try:
            fields = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=16))
        except ValueError as error:
            raise Problem(400, "not a query string") from error
        answer = self._source.handshake(fields)
        if isinstance(answer, Denied):
            self.counts.denied += 1
            raise Problem(answer.status, answer.reason)
        return answer

    async def _fail(self, error: Exception, send: Send) -> None:
        problem = problem_of(error)
        if isinstance(error, Unavailable):
            self.counts.unavailable += 1
        if problem.status == 500:
            self.counts.failed += 1
            log.error("ingress.failed", source=self._source.name, exc_info=error)
        await answer_problem(send, problem)


async def answer_problem(send: Send, problem: Problem) -> None:
    status, headers, body = render(problem)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer_text(send: Send, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
