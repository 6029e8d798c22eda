"""Ingress: accepts the webhooks of providers. Verifies the raw bytes, publishes them to the log, answers.

One raw ASGI handler per source, called before Litestar, which would double the cost of a request. The body is not
parsed: the router decodes it after it is stored. The answer is sent after `publish` returned, so an acknowledged
webhook is durable (G1). Overload is answered with 503 before anything is published (G9).
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from airy import topics, trace
from airy.bug_fields import bug_fields
from airy.bus.api import Bus
from airy.bus.publish_batcher import publish_batcher
from airy.bus.record import Headers
from airy.clock import Clock, Ids
from airy.errors import Unavailable
from airy.http.admission import AdmissionControl
from airy.http.asgi import RawHeaders, Receive, Scope, Send
from airy.http.body_reader import BodyReader
from airy.http.ports import Verifier
from airy.http.problems import Problem, problem_of, send_problem, unavailable
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import EMPTY_REPLY, Accepted, Accounts, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.catalogue import find_webhook

KEPT_HEADERS = {name.encode(): name for name in ("content-type", "content-encoding")}
TRACEPARENT = trace.HEADER.encode()
KEPT_BYTES_MAX = 256  # of the value of a kept header

STALE_STATUSES = frozenset({403, 404, 503})  # of denials that a channel connected just now would change

OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}

NOT_ALLOWED = Problem(405, "this path takes webhooks by POST", headers=[(b"allow", b"GET, POST")])


ReadAccounts = Callable[[], Awaitable[Accounts]]
"""The connected channels with their secrets, as of what the store has folded."""


async def no_accounts() -> Accounts:
    return ConnectedChannels()


def _always() -> bool:
    return True


log = structlog.get_logger("airy.http")


class IngressCounters:
    """Requests by outcome since the start of the process."""

    __slots__ = ("accepted", "accepted_bytes", "denied", "failed", "requests", "shed", "unavailable")

    def __init__(self) -> None:
        self.requests = self.accepted = self.accepted_bytes = 0
        self.denied = self.shed = self.unavailable = self.failed = 0


class Ingress:
    """The webhook endpoints of a source.

    `public_url` is the address under which the provider reaches this process; empty if it is not configured. The store
    holds the secrets of channels: while it has not `caught_up`, a request they cannot verify is to be repeated. Later,
    `refresh` brings it up to the log before such a request is refused, because another process may have connected the
    channel a moment ago. A source that needs none of them needs the log alone.
    """

    def __init__(
        self,
        source: Verifier,
        bus: Bus,
        *,
        clock: Clock,
        ids: Ids,
        admission: AdmissionControl,
        reader: BodyReader,
        accounts: ReadAccounts = no_accounts,
        public_url: str = "",
        caught_up: Callable[[], bool] = _always,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._bus = bus
        self._batcher = publish_batcher(bus)
        self._clock = clock
        self._admission = admission
        self._reader = reader
        by_channel = source.spec.channel_secrets
        self._accounts = accounts if by_channel else no_accounts
        self._public_url = public_url
        self._caught_up = caught_up if by_channel else _always
        self._refresh = refresh if by_channel else None
        self._topic = topics.source_events(source.spec.name)
        self._request_id_prefix = ids.new()[:18]  # a request's id is this and the count of requests
        self.counters = IngressCounters()

    @property
    def paths(self) -> Sequence[str]:
        """Templates of the paths it answers."""
        return self._source.spec.webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            match scope["method"]:
                case "POST":
                    await _send_reply(send, await self._accept(scope, receive))
                case "GET":
                    await _send_reply(send, await self._answer(scope))
                case _:
                    await send_problem(send, NOT_ALLOWED)
        except Exception as error:  # noqa: BLE001 - every error becomes a response; a bug is logged as well
            await self._send_error(error, send)

    async def _accept(self, scope: Scope, receive: Receive) -> WebhookReply:
        counters, headers = self.counters, scope["headers"]
        counters.requests += 1
        record_headers = self._record_headers(headers)
        now_ms = self._clock.now_ms()
        body = await self._reader.read(receive, headers, self._source.spec.webhook_bytes_max)
        verdict = await self._verdict(self._request(scope, body))
        if isinstance(verdict, Denied):
            raise self._denied(verdict)
        if isinstance(verdict, WebhookReply):  # nothing to store
            return verdict
        await self._publish(verdict, body, record_headers, now_ms)
        counters.accepted += 1
        counters.accepted_bytes += len(body)
        return verdict.reply

    async def _publish(self, verdict: Accepted, body: bytes, headers: Headers, now_ms: int) -> None:
        kept = tuple((name, value.encode()[:KEPT_BYTES_MAX]) for name, value in verdict.headers.items())
        records = [
            self._topic.record(account, part, headers=(*headers, *kept), timestamp_ms=now_ms)
            for account, part in verdict.parts or ((verdict.account, body),)
        ]
        if not await self._admission.try_acquire():
            self.counters.shed += 1
            raise unavailable("too many requests at once")
        try:
            if len(records) == 1:
                await self._batcher.add(records[0])
            else:
                await self._bus.publish(records)
        finally:
            self._admission.release()

    async def _answer(self, scope: Scope) -> WebhookReply:
        """A subscription handshake: nothing is stored."""
        verdict = await self._verdict(self._request(scope, b""))
        if isinstance(verdict, WebhookReply):
            return verdict
        if isinstance(verdict, Denied):
            raise self._denied(verdict)
        raise Problem(405, "this path takes webhooks by POST", headers=[(b"allow", b"POST")])

    async def _verdict(self, request: WebhookRequest) -> Verdict:
        """Raises `Unavailable`."""
        verdict = self._source.verify(request, await self._accounts())
        may_be_stale = isinstance(verdict, Denied) and verdict.status in STALE_STATUSES
        if not may_be_stale or self._refresh is None or not self._caught_up():
            return verdict
        await self._refresh()
        return self._source.verify(request, await self._accounts())

    def _denied(self, verdict: Denied) -> Problem:
        self.counters.denied += 1
        if verdict.status in {401, 403} and not self._caught_up():
            return unavailable("this replica is still folding the log: its channels are not known yet")
        return unavailable(verdict.reason) if verdict.status == 503 else Problem(verdict.status, verdict.reason)

    def _request(self, scope: Scope, body: bytes) -> WebhookRequest:
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        raw_path = (scope.get("raw_path") or path.encode()).decode("latin-1")
        found = find_webhook(path.removesuffix("/"), (self._source.spec,))
        return WebhookRequest(
            method=scope["method"],
            url=f"{self._public_url}{raw_path}{'?' if query else ''}{query}",
            path=path,
            query=query,
            parameters=found.parameters if found else {},
            headers=scope["headers"],
            body=body,
        )

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

    async def _send_error(self, error: Exception, send: Send) -> None:
        problem = problem_of(error)
        if isinstance(error, Unavailable):
            self.counters.unavailable += 1
        if problem.status == 500:
            self.counters.failed += 1
            log.error("ingress.failed", source=self._source.spec.name, **bug_fields(error))
        await send_problem(send, problem)


async def _send_reply(send: Send, reply: WebhookReply) -> None:
    if reply is EMPTY_REPLY:
        await send(OK)
        await send(EMPTY)
        return
    headers = [
        (b"content-type", reply.content_type.encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(reply.body)),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
