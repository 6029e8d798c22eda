"""Ingress: accepts the webhooks of providers. Verifies the raw bytes, publishes them to the log, acknowledges.

One raw ASGI handler per source, called before Litestar, which would double the cost of a request. The body is not
parsed: the router decodes it after it is stored. 200 is sent after `publish` returned, so an acknowledged webhook is
durable (G1). Overload is answered with 503 before anything is published (G9).
"""

from urllib.parse import parse_qsl

import structlog

from airy import topics, trace
from airy.bus.api import Bus
from airy.bus.record import Headers
from airy.clock import Clock, Ids
from airy.errors import Unavailable
from airy.http.admission import AdmissionControl
from airy.http.asgi import RawHeaders, Receive, Scope, Send
from airy.http.ports import Verifier
from airy.http.problems import Problem, problem_of, send_problem, unavailable
from airy.http.publish_batcher import PublishBatcher
from airy.http.request_bodies import BodyReader
from airy.sources.api import Denied

KEPT_HEADERS = {name.encode(): name for name in ("content-type", "content-encoding")}
TRACEPARENT = trace.HEADER.encode()
KEPT_BYTES_MAX = 256  # of the value of a kept header

OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}

NOT_ALLOWED = Problem(405, "this path takes webhooks by POST", headers=[(b"allow", b"GET, POST")])

log = structlog.get_logger("airy.http")


class IngressCounters:
    """Requests by outcome since the start of the process."""

    __slots__ = ("accepted", "accepted_bytes", "denied", "failed", "requests", "shed", "unavailable")

    def __init__(self) -> None:
        self.requests = self.accepted = self.accepted_bytes = 0
        self.denied = self.shed = self.unavailable = self.failed = 0


class Ingress:
    """The webhook endpoint of a source."""

    def __init__(
        self, source: Verifier, bus: Bus, *, clock: Clock, ids: Ids, admission: AdmissionControl, reader: BodyReader
    ) -> None:
        self._source = source
        self._batcher = PublishBatcher(bus)
        self._clock = clock
        self._admission = admission
        self._reader = reader
        self._topic = topics.source_events(source.name)
        self._request_id_prefix = ids.new()[:18]  # a request's id is this and the count of requests
        self.counters = IngressCounters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            match scope["method"]:
                case "POST":
                    await self._accept(scope["headers"], receive)
                    await send(OK)
                    await send(EMPTY)
                case "GET":
                    await _send_text(send, self._verify_subscription(scope["query_string"]))
                case _:
                    await send_problem(send, NOT_ALLOWED)
        except Exception as error:  # noqa: BLE001 - every error becomes a response; a bug is logged as well
            await self._send_error(error, send)

    async def _accept(self, headers: RawHeaders, receive: Receive) -> None:
        counters = self.counters
        counters.requests += 1
        record_headers = self._record_headers(headers)
        now_ms = self._clock.now_ms()
        body = await self._reader.read(receive, headers)
        verdict = self._source.verify(headers, body)
        if isinstance(verdict, Denied):
            counters.denied += 1
            raise Problem(verdict.status, verdict.reason)
        record = self._topic.record(verdict.account, body, headers=record_headers, timestamp_ms=now_ms)
        if not await self._admission.try_acquire():
            counters.shed += 1
            raise unavailable("too many requests at once")
        try:
            await self._batcher.publish(record)
        finally:
            self._admission.release()
        counters.accepted += 1
        counters.accepted_bytes += len(body)

    def _record_headers(self, headers: RawHeaders) -> Headers:
        request_id = f"{self._request_id_prefix}-{self.counters.requests:x}"
        traceparents = [value for name, value in headers if name == TRACEPARENT]
        kept = [
            ("request-id", request_id.encode()),
            (trace.HEADER, trace.from_request(traceparents, request_id).header.encode()),
        ]
        for name, value in headers:
            if name in KEPT_HEADERS:
                if name == b"content-encoding":
                    raise Problem(415, "compressed bodies are not supported: send the body without content-encoding")
                kept.append((KEPT_HEADERS[name], value[:KEPT_BYTES_MAX]))
        return tuple(kept)

    def _verify_subscription(self, query: bytes) -> str:
        try:
            fields = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=16))
        except ValueError as error:
            raise Problem(400, "the query string is not valid") from error
        challenge = self._source.handshake(fields)
        if isinstance(challenge, Denied):
            self.counters.denied += 1
            raise Problem(challenge.status, challenge.reason)
        return challenge

    async def _send_error(self, error: Exception, send: Send) -> None:
        problem = problem_of(error)
        if isinstance(error, Unavailable):
            self.counters.unavailable += 1
        if problem.status == 500:
            self.counters.failed += 1
            log.error("ingress.failed", source=self._source.name, exc_info=error)
        await send_problem(send, problem)


async def _send_text(send: Send, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
