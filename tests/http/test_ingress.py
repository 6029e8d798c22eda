"""Ingress acknowledges a webhook only when it is durable (G1), and sheds overload before it is stored (G9)."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from airy import topics
from airy.bus.memory import MemoryBus, MemoryLimits
from airy.bus.publish_batcher import publish_batcher
from airy.bus.record import Position, ProducerRecord, Record
from airy.clock import LoopClock, RandomIds
from airy.errors import Unavailable
from airy.http.admission import AdmissionControl, AdmissionLimits
from airy.http.body_reader import BodyLimits, BodyReader
from airy.http.ingress import Ingress
from airy.model.entity import Channel
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Accounts, BatchPart, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.telegram.spec import SPEC as TELEGRAM
from airy.trace import Trace, parse
from tests.kit.asgi import AsgiResponse, DelayedPart, call
from tests.kit.signing import SigningSource, signature

BODY = b'{"object":"page","entry":[{"id":"page"}]}'
TOPIC = topics.source_events("facebook")


class PausableBus(MemoryBus):
    """Publishes once `resume` is set; raises `error` if there is one."""

    def __init__(self, record_bytes_max: int = 1_000_000) -> None:
        super().__init__([TOPIC], clock=LoopClock(), limits=MemoryLimits(record_bytes_max=record_bytes_max))
        self.resume = anyio.Event()
        self.resume.set()
        self.error: Exception | None = None
        self.publishes = 0

    async def publish(self, records: Sequence[ProducerRecord]) -> list[Position]:
        self.publishes += 1
        await self.resume.wait()
        if self.error is not None:
            raise self.error
        return await super().publish(records)

    async def records(self) -> list[Record]:
        async with self.tail(await self.beginning_offsets([TOPIC])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)


def ingress(
    bus: PausableBus,
    admission: AdmissionControl | None = None,
    limits: BodyLimits | None = None,
    source: SigningSource | None = None,
) -> Ingress:
    return Ingress(
        source or SigningSource(),
        bus,
        clock=LoopClock(),
        ids=RandomIds(),
        admission=admission or AdmissionControl(),
        reader=BodyReader(limits),
    )


async def post(app: Ingress, body: bytes = BODY, *, signed: bytes | None = None, **headers: str) -> AsgiResponse:
    given = [("x-hub-signature-256", (signed or signature(body)).decode())]
    return await call(
        app, "POST", "/facebook", body=body, headers=[*given, *((k.replace("_", "-"), v) for k, v in headers.items())]
    )


async def test_a_signed_webhook_is_stored_unchanged_and_answered_200() -> None:
    bus = PausableBus()
    body = b"\xff not even text"
    answer = await post(ingress(bus), body, content_type="application/json", authorization="secret")
    assert (answer.status, answer.body) == (200, b"")
    [record] = await bus.records()
    assert (record.value, record.key) == (body, b"page")
    assert record.header("content-type") == "application/json"
    assert record.timestamp_ms == LoopClock().now_ms()
    assert record.header("request-id")
    assert record.header("authorization") is None


@pytest.mark.parametrize("given", ["00-x", "", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
async def test_a_webhook_without_a_valid_traceparent_starts_a_trace(given: str) -> None:
    bus = PausableBus()
    app = ingress(bus)
    await post(app)
    await post(app, traceparent=given)
    traces = [parse(record.header("traceparent") or "") for record in await bus.records()]
    assert len({trace.trace_id for trace in traces if trace}) == 2


async def test_a_webhook_with_a_traceparent_continues_its_trace() -> None:
    bus = PausableBus()
    given = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
    await post(ingress(bus), traceparent=given.header)
    [record] = await bus.records()
    kept = parse(record.header("traceparent") or "")
    assert kept is not None
    assert (kept.trace_id, kept.flags) == (given.trace_id, given.flags)
    assert kept.span_id != given.span_id


async def test_every_webhook_gets_a_unique_request_id() -> None:
    bus = PausableBus()
    app, again = ingress(bus), ingress(bus)
    for each in (app, app, again):
        await post(each)
    assert len({record.header("request-id") for record in await bus.records()}) == 3


async def test_a_webhook_is_acknowledged_only_when_it_is_durable() -> None:
    bus = PausableBus()
    bus.resume = anyio.Event()
    answers: list[int] = []

    async def poster() -> None:
        answers.append((await post(ingress(bus))).status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poster)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        bus.resume.set()
    assert answers == [200]


@pytest.mark.parametrize("flipped", range(0, 71, 7))
async def test_a_webhook_with_a_wrong_signature_is_not_stored(flipped: int) -> None:
    """FB-1, F1."""
    bus = PausableBus()
    wrong = bytearray(signature(BODY))
    wrong[flipped] ^= 1
    answer = await post(ingress(bus), signed=bytes(wrong))
    assert answer.status == 403
    assert answer.json() == {"message": "the signature is not of this body", "code": "forbidden", "fields": []}
    assert await bus.records() == []


async def test_an_unavailable_log_is_a_503_with_retry_after() -> None:
    bus = PausableBus()
    bus.error = Unavailable("no leader", retry_after_s=2.5)
    app = ingress(bus)
    answer = await post(app)
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")
    assert app.counters.unavailable == 1


async def test_an_unexpected_error_is_a_500_without_details_and_releases_admission() -> None:
    bus = PausableBus()
    bus.error = ZeroDivisionError("secret detail")
    admission = AdmissionControl(AdmissionLimits(in_flight_max=1))
    app = ingress(bus, admission)
    with capture_logs() as logged:
        for _ in range(2):
            answer = await post(app)
            assert answer.status == 500
            assert b"secret detail" not in answer.body
    assert [(line["event"], line["error"]) for line in logged] == [("ingress.failed", "ZeroDivisionError")] * 2
    assert "secret detail" not in str(logged)
    assert app.counters.failed == 2


async def test_webhooks_beyond_the_in_flight_limit_wait_and_are_then_shed() -> None:
    bus = PausableBus()
    bus.resume = anyio.Event()
    app = ingress(bus, AdmissionControl(AdmissionLimits(in_flight_max=2, queue_max=3, queue_s=0.25)))
    answers: list[tuple[float, int]] = []

    async def poster() -> None:
        answer = await post(app)
        answers.append((anyio.current_time() - began, answer.status))

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(7):
            tasks.start_soon(poster)
        await anyio.sleep(1)
        assert sorted(answers) == [(0, 503)] * 2 + [(0.25, 503)] * 3
        bus.resume.set()
    assert [status for _, status in answers].count(200) == 2
    assert app.counters.shed == 5
    assert len(await bus.records()) == 2
    assert (await post(app)).status == 200


async def test_concurrent_webhooks_are_published_in_batches() -> None:
    bus = PausableBus()
    app = ingress(bus)
    bodies = [b"%d" % number for number in range(300)]
    async with anyio.create_task_group() as tasks:
        for body in bodies:
            tasks.start_soon(post, app, body)
    assert sorted(record.value or b"" for record in await bus.records()) == sorted(bodies)
    assert bus.publishes == 3  # one, then 256, then the rest


async def test_every_webhook_of_a_failed_batch_is_a_503() -> None:
    bus = PausableBus()
    bus.error = Unavailable("no leader")
    statuses: list[int] = []
    app = ingress(bus)

    async def poster() -> None:
        statuses.append((await post(app)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(poster)
    assert (statuses, bus.publishes) == ([503] * 5, 2)
    assert app.counters.unavailable == 5


async def test_a_record_the_log_rejects_does_not_fail_the_rest_of_its_batch() -> None:
    bus = PausableBus(record_bytes_max=1_000)
    app = ingress(bus)
    statuses: dict[bytes, int] = {}

    async def poster(body: bytes) -> None:
        statuses[body[:1]] = (await post(app, body)).status

    async with anyio.create_task_group() as tasks:
        for body in (b"a", b"b" * 2_000, b"c"):
            tasks.start_soon(poster, body)
    assert statuses == {b"a": 200, b"b": 413, b"c": 200}
    assert sorted(record.value or b"" for record in await bus.records()) == [b"a", b"c"]


@pytest.mark.parametrize("publishing", [False, True], ids=["waiting", "publishing"])
async def test_the_rest_of_a_batch_is_published_when_its_leader_is_cancelled(publishing: bool) -> None:
    bus = PausableBus()
    bus.resume = anyio.Event()
    batcher = publish_batcher(bus)
    outcomes: list[str] = []

    async def publish(name: str) -> None:
        await batcher.add(TOPIC.record("page", name.encode()))
        outcomes.append(f"{name} is durable")

    leader = anyio.CancelScope()

    async def lead() -> None:
        with leader:
            await publish("first")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish, "alone")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(publish, "second")
        await anyio.wait_all_tasks_blocked()
        if publishing:
            resume, bus.resume = bus.resume, anyio.Event()
            resume.set()
            await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        bus.resume.set()
    assert sorted(outcomes) == ["alone is durable", "second is durable"]
    with anyio.fail_after(1):
        await batcher.add(TOPIC.record("page", b"later"))


async def test_waiting_requests_are_admitted_in_order() -> None:
    admission = AdmissionControl(AdmissionLimits(in_flight_max=1, queue_s=10))
    admitted: list[str] = []

    async def acquire(name: str) -> None:
        assert await admission.try_acquire()
        admitted.append(name)

    assert await admission.try_acquire()
    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(acquire, name)
            await anyio.wait_all_tasks_blocked()
        for _ in "abc":
            admission.release()
            await anyio.wait_all_tasks_blocked()
    assert admitted == ["a", "b", "c"]


async def test_a_permit_granted_to_a_cancelled_request_is_not_lost() -> None:
    async def pass_through(admission: AdmissionControl) -> None:
        if await admission.try_acquire():
            admission.release()

    admission = AdmissionControl(AdmissionLimits(in_flight_max=1, queue_s=10))
    assert await admission.try_acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_through, admission)
        await anyio.wait_all_tasks_blocked()
        admission.release()
        tasks.cancel_scope.cancel()
    assert await admission.try_acquire()


async def test_a_body_that_arrives_too_slowly_is_a_408_and_not_stored() -> None:
    bus = PausableBus()
    app = ingress(bus, limits=BodyLimits(arrive_s=15))
    began = anyio.current_time()
    answer = await call(app, "POST", "/facebook", body=[b"{", *(DelayedPart(b" ", 4) for _ in range(100))])
    assert (answer.status, anyio.current_time() - began) == (408, pytest.approx(15, abs=0.01))
    assert await bus.records() == []


async def test_a_body_that_arrives_fast_enough_may_take_longer() -> None:
    bus = PausableBus()
    app = ingress(bus, limits=BodyLimits(arrive_s=2, bytes_per_s_min=10))
    answer = await call(app, "POST", "/facebook", body=[b"{", *(DelayedPart(b" " * 10, 1) for _ in range(5)), b"}"])
    assert answer.status == 403  # complete, and not signed


async def test_a_batch_given_in_parts_is_appended_in_parts_by_account_with_one_publish() -> None:
    bus = PausableBus()
    parts = [BatchPart("a", b"1"), BatchPart("b", b"2"), BatchPart("a", b"3")]
    assert (await post(ingress(bus, source=SigningSource(parts)))).status == 200
    records = await bus.records()
    assert sorted((record.key, record.value) for record in records) == [(b"a", b"1"), (b"a", b"3"), (b"b", b"2")]
    assert [record.value for record in records if record.key == b"a"] == [b"1", b"3"]
    assert len({record.header("request-id") for record in records}) == 1
    assert bus.publishes == 1


async def test_bodies_over_the_limit_of_the_source_and_compressed_bodies_are_rejected() -> None:
    """The limit of the reader is that of the API's bodies."""
    bus = PausableBus()
    source = SigningSource()
    source.spec = replace(source.spec, webhook_bytes_max=64)
    app = ingress(bus, limits=BodyLimits(bytes_max=8), source=source)
    assert (await post(app, b"x" * 65)).status == 413
    assert (await post(app, b"x" * 64)).status == 200
    assert (await post(app, content_encoding="gzip")).status == 415
    assert len(await bus.records()) == 1


async def test_an_incomplete_body_is_not_stored() -> None:
    bus = PausableBus()
    await call(ingress(bus), "POST", "/facebook", body=[b'{"a'], complete=False)
    assert await bus.records() == []


async def test_the_subscription_challenge_is_echoed_for_the_right_token_only() -> None:
    app = ingress(PausableBus())
    right = await call(app, "GET", "/facebook", query="token=yes&challenge=1158201444")
    assert (right.status, right.body, right.headers["content-type"]) == (
        200,
        b"1158201444",
        "text/plain; charset=utf-8",
    )
    assert (await call(app, "GET", "/facebook", query="token=no&challenge=1")).status == 403


async def test_other_methods_are_a_405_with_the_allowed_methods() -> None:
    answer = await call(ingress(PausableBus()), "PUT", "/facebook")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


def test_the_source_of_these_tests_accepts_its_own_signature() -> None:
    headers = [(b"x-hub-signature-256", signature(BODY))]
    request = WebhookRequest(method="POST", url="", path="/facebook", headers=headers, body=BODY)
    assert SigningSource().verify(request, ConnectedChannels()) == Accepted("page")


# --- what sources of the second contract need


class EchoingSource:
    """Remembers the request and the accounts it was given; answers with a body and headers to keep."""

    spec = TELEGRAM

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.requests: list[WebhookRequest] = []
        self.channels: list[Channel | None] = []

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        self.requests.append(request)
        self.channels.append(accounts.by_id(request.parameters["channel_id"]))
        return self.verdict


TELEGRAM = topics.source_events("telegram")


def telegram_ingress(
    source: EchoingSource,
    bus: MemoryBus | None = None,
    *,
    caught_up: bool = True,
    connected: Sequence[Channel] = (),
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> Ingress:
    async def accounts() -> ConnectedChannels:
        return ConnectedChannels(connected)

    return Ingress(
        source,
        bus or MemoryBus([TELEGRAM], clock=LoopClock()),
        clock=LoopClock(),
        ids=RandomIds(),
        admission=AdmissionControl(),
        reader=BodyReader(),
        accounts=accounts,
        public_url="https://inbox.example.org",
        caught_up=lambda: caught_up,
        refresh=refresh,
    )


async def test_a_source_sees_the_public_address_the_path_and_the_accounts_of_the_store() -> None:
    channel = Channel(id="c1", source="telegram", source_channel_id="7", connected=True)
    source = EchoingSource(Accepted("7"))
    app = telegram_ingress(source, connected=[channel])
    answer = await call(app, "POST", "/telegram/c1", query="m=1%202&m=3", body=b"{}")
    assert answer.status == 200
    (request,) = source.requests
    assert (request.url, request.query) == ("https://inbox.example.org/telegram/c1?m=1%202&m=3", "m=1%202&m=3")
    assert (request.parameters, request.body) == ({"channel_id": "c1"}, b"{}")
    assert source.channels == [channel]


async def test_an_answer_may_have_a_body_and_a_record_may_keep_what_the_address_said() -> None:
    reply = WebhookReply(body=b"<Response/>", content_type="text/xml; charset=utf-8")
    bus = MemoryBus([TELEGRAM], clock=LoopClock())
    app = telegram_ingress(EchoingSource(Accepted("7", headers={"message-id": "m"}, reply=reply)), bus)
    answer = await call(app, "POST", "/telegram/c1", body=b"a=1")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"<Response/>", reply.content_type)
    async with bus.tail(await bus.beginning_offsets([TELEGRAM])) as tail:
        (record,) = await tail.fetch(records_max=10, wait_s=0)
    assert (record.key, record.value, record.header("message-id")) == (b"7", b"a=1", "m")


async def test_a_reply_without_an_account_stores_nothing() -> None:
    app = telegram_ingress(EchoingSource(WebhookReply(body=b"pong")))
    answer = await call(app, "POST", "/telegram/c1", body=b"ping")
    assert (answer.status, answer.body, app.counters.accepted) == (200, b"pong", 0)


async def test_a_webhook_that_needs_a_secret_is_to_be_repeated_while_channels_are_not_known_yet() -> None:
    denied = EchoingSource(Denied(403, "the secret is not the one of this channel"))
    assert (await call(telegram_ingress(denied), "POST", "/telegram/c1")).status == 403
    assert (await call(telegram_ingress(denied, caught_up=False), "POST", "/telegram/c1")).status == 503


class LateSource(EchoingSource):
    """Denies until a channel is known."""

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        super().verify(request, accounts)
        return self.verdict if self.channels[-1] is None else Accepted("7")


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_a_channel_that_another_process_has_just_connected_is_looked_for_before_a_webhook_is_refused(
    status: int,
) -> None:
    connected: list[Channel] = []
    refreshed: list[bool] = []

    async def refresh() -> None:
        refreshed.append(True)
        connected.append(Channel(id="c1", source="telegram", source_channel_id="7", connected=True))

    app = telegram_ingress(LateSource(Denied(status, "unknown")), connected=connected, refresh=refresh)
    assert (await call(app, "POST", "/telegram/c1")).status == 200
    assert (await call(app, "POST", "/telegram/c1")).status == 200
    assert refreshed == [True], "once the channel is known, the log is not asked"
    app = telegram_ingress(LateSource(Denied(401, "not signed")), refresh=refresh)
    assert (await call(app, "POST", "/telegram/c1")).status == 401
    assert refreshed == [True], "what is not signed at all costs nothing"


async def test_a_webhook_is_not_refused_by_a_store_that_lags() -> None:
    async def lagging() -> None:
        raise Unavailable("this replica is behind the log")

    app = telegram_ingress(EchoingSource(Denied(403, "unknown")), refresh=lagging)
    assert (await call(app, "POST", "/telegram/c1")).status == 503


async def test_a_webhook_that_is_verified_without_channels_is_stored_while_they_cannot_be_read() -> None:
    async def unreadable() -> ConnectedChannels:
        raise Unavailable("the channels cannot be read")

    bus = PausableBus()
    app = Ingress(
        SigningSource(),
        bus,
        clock=LoopClock(),
        ids=RandomIds(),
        admission=AdmissionControl(),
        reader=BodyReader(),
        accounts=unreadable,
        caught_up=lambda: False,
    )
    assert (await post(app)).status == 200
    assert [record.value for record in await bus.records()] == [BODY]
    assert (await post(app, signed=b"sha256=" + b"0" * 64)).status == 403


async def test_a_webhook_that_this_installation_cannot_verify_yet_is_a_503_with_retry_after() -> None:
    answer = await call(telegram_ingress(EchoingSource(Denied(503, "no public address"))), "POST", "/telegram/c1")
    assert (answer.status, answer.headers["retry-after"], answer.json()["message"]) == (503, "1", "no public address")
