"""What a provider posts is durable before it is acknowledged, and refused before it is too much (G1, G9)."""

from collections.abc import Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from airy import topics
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, Record
from airy.clock import LoopClock, RandomIds
from airy.errors import Unavailable
from airy.http.bodies import BodyLimits, BodyReader
from airy.http.ingress import Gate, GateLimits, Ingress
from airy.http.sharing import SharedPublish
from airy.sources.api import Accepted
from airy.trace import Trace, parse
from tests.kit.asgi import Drip, Response, call
from tests.kit.signing import SigningSource, signature

BODY = b'{"object":"page","entry":[{"id":"page"}]}'
TOPIC = topics.source_events("facebook")


class HeldBus(MemoryBus):
    """Publishes once it is let go; fails as it is told."""

    def __init__(self, record_bytes_max: int = 1_000_000) -> None:
        super().__init__([TOPIC], clock=LoopClock(), record_bytes_max=record_bytes_max)
        self.go = anyio.Event()
        self.go.set()
        self.fault: Exception | None = None
        self.publishes = 0

    async def publish(self, emits: Sequence[Emit]) -> list[Position]:
        self.publishes += 1
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return await super().publish(emits)

    async def records(self) -> list[Record]:
        async with self.tail(await self.starts([TOPIC])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)


def ingress(bus: HeldBus, gate: Gate | None = None, limits: BodyLimits | None = None) -> Ingress:
    return Ingress(
        SigningSource(), bus, clock=LoopClock(), ids=RandomIds(), gate=gate or Gate(), reader=BodyReader(limits)
    )


async def post(app: Ingress, body: bytes = BODY, *, signed: bytes | None = None, **headers: str) -> Response:
    given = [("x-hub-signature-256", (signed or signature(body)).decode())]
    return await call(
        app, "POST", "/facebook", body=body, headers=[*given, *((k.replace("_", "-"), v) for k, v in headers.items())]
    )


async def test_a_signed_post_is_in_the_log_as_it_came_and_answered_200() -> None:
    bus = HeldBus()
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
async def test_a_webhook_without_a_valid_trace_begins_one(given: str) -> None:
    bus = HeldBus()
    app = ingress(bus)
    await post(app)
    await post(app, traceparent=given)
    traces = [parse(record.header("traceparent") or "") for record in await bus.records()]
    assert len({trace.trace_id for trace in traces if trace}) == 2


async def test_a_webhook_with_a_trace_goes_on_with_it_one_step_further() -> None:
    bus = HeldBus()
    given = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
    await post(ingress(bus), traceparent=given.header)
    [record] = await bus.records()
    kept = parse(record.header("traceparent") or "")
    assert kept is not None
    assert (kept.trace_id, kept.flags) == (given.trace_id, given.flags)
    assert kept.span_id != given.span_id


async def test_every_request_has_an_id_of_its_own() -> None:
    bus = HeldBus()
    app, again = ingress(bus), ingress(bus)
    for each in (app, app, again):
        await post(each)
    assert len({record.header("request-id") for record in await bus.records()}) == 3


async def test_it_is_answered_only_once_it_is_durable() -> None:
    bus = HeldBus()
    bus.go = anyio.Event()
    answers: list[int] = []

    async def poster() -> None:
        answers.append((await post(ingress(bus))).status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poster)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        bus.go.set()
    assert answers == [200]


@pytest.mark.parametrize("flipped", range(0, 71, 7))
async def test_a_wrong_signature_leaves_nothing_in_the_log(flipped: int) -> None:
    bus = HeldBus()
    wrong = bytearray(signature(BODY))
    wrong[flipped] ^= 1
    answer = await post(ingress(bus), signed=bytes(wrong))
    assert answer.status == 403
    assert answer.json() == {"message": "the signature is not of this body", "code": "forbidden", "fields": []}
    assert await bus.records() == []


async def test_when_the_log_cannot_take_it_the_provider_is_asked_to_try_again() -> None:
    bus = HeldBus()
    bus.fault = Unavailable("no leader", retry_after_s=2.5)
    app = ingress(bus)
    answer = await post(app)
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")
    assert app.counts.unavailable == 1


async def test_a_bug_is_a_500_that_tells_nothing_and_gives_its_place_back() -> None:
    bus = HeldBus()
    bus.fault = ZeroDivisionError("secret detail")
    gate = Gate(GateLimits(in_flight_max=1))
    app = ingress(bus, gate)
    with capture_logs() as logged:
        for _ in range(2):
            answer = await post(app)
            assert answer.status == 500
            assert b"secret detail" not in answer.body
    assert [line["event"] for line in logged] == ["ingress.failed"] * 2
    assert app.counts.failed == 2


async def test_beyond_what_is_in_flight_posts_wait_shortly_and_are_then_shed() -> None:
    bus = HeldBus()
    bus.go = anyio.Event()
    app = ingress(bus, Gate(GateLimits(in_flight_max=2, queue_max=3, queue_s=0.25)))
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
        bus.go.set()
    assert [status for _, status in answers].count(200) == 2
    assert app.counts.shed == 5
    assert len(await bus.records()) == 2
    assert (await post(app)).status == 200


async def test_posts_that_arrive_together_share_one_publish_and_are_all_there() -> None:
    bus = HeldBus()
    app = ingress(bus)
    bodies = [b"%d" % number for number in range(300)]
    async with anyio.create_task_group() as tasks:
        for body in bodies:
            tasks.start_soon(post, app, body)
    assert sorted(record.value or b"" for record in await bus.records()) == sorted(bodies)
    assert bus.publishes == 3  # one, then 256, then the rest


async def test_when_a_shared_publish_fails_everybody_is_asked_to_try_again() -> None:
    bus = HeldBus()
    bus.fault = Unavailable("no leader")
    statuses: list[int] = []
    app = ingress(bus)

    async def poster() -> None:
        statuses.append((await post(app)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(poster)
    assert (statuses, bus.publishes) == ([503] * 5, 2)
    assert app.counts.unavailable == 5


async def test_a_record_the_log_refuses_takes_nobody_with_it() -> None:
    bus = HeldBus(record_bytes_max=1_000)
    app = ingress(bus)
    statuses: dict[bytes, int] = {}

    async def poster(body: bytes) -> None:
        statuses[body[:1]] = (await post(app, body)).status

    async with anyio.create_task_group() as tasks:
        for body in (b"a", b"b" * 2_000, b"c"):
            tasks.start_soon(poster, body)
    assert statuses == {b"a": 200, b"b": 400, b"c": 200}
    assert sorted(record.value or b"" for record in await bus.records()) == [b"a", b"c"]


@pytest.mark.parametrize("under_way", [False, True], ids=["waiting for its turn", "publishing"])
async def test_when_the_first_of_a_batch_is_cancelled_the_others_are_told_to_try_again(under_way: bool) -> None:
    bus = HeldBus()
    bus.go = anyio.Event()
    shared = SharedPublish(bus)
    told: list[str] = []

    async def publish(name: str) -> None:
        try:
            await shared.publish(TOPIC.emit("page", name.encode()))
            told.append(f"{name} is durable")
        except Unavailable as error:
            told.append(f"{name}: {error}")

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
        if under_way:
            go, bus.go = bus.go, anyio.Event()
            go.set()
            await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        bus.go.set()
    assert sorted(told) == ["alone is durable", "second: the server is stopping"]
    with anyio.fail_after(1):
        await shared.publish(TOPIC.emit("page", b"later"))


async def test_who_waits_is_let_in_in_order_when_a_place_is_free() -> None:
    gate = Gate(GateLimits(in_flight_max=1, queue_s=10))
    entered: list[str] = []

    async def enter(name: str) -> None:
        assert await gate.enter()
        entered.append(name)

    assert await gate.enter()
    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(enter, name)
            await anyio.wait_all_tasks_blocked()
        for _ in "abc":
            gate.leave()
            await anyio.wait_all_tasks_blocked()
    assert entered == ["a", "b", "c"]


async def test_a_place_handed_to_somebody_who_is_cancelled_is_not_lost() -> None:
    async def pass_through(gate: Gate) -> None:
        if await gate.enter():
            gate.leave()

    gate = Gate(GateLimits(in_flight_max=1, queue_s=10))
    assert await gate.enter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_through, gate)
        await anyio.wait_all_tasks_blocked()
        gate.leave()
        tasks.cancel_scope.cancel()
    assert await gate.enter()


async def test_a_dripped_body_is_a_408_and_leaves_nothing() -> None:
    bus = HeldBus()
    app = ingress(bus, limits=BodyLimits(arrive_s=15))
    began = anyio.current_time()
    answer = await call(app, "POST", "/facebook", body=[b"{", *(Drip(b" ", 4) for _ in range(100))])
    assert (answer.status, anyio.current_time() - began) == (408, 15)
    assert await bus.records() == []


async def test_bodies_over_the_cap_and_compressed_ones_are_refused() -> None:
    bus = HeldBus()
    app = ingress(bus, limits=BodyLimits(bytes_max=64))
    assert (await post(app, b"x" * 65)).status == 413
    assert (await post(app, b"x" * 64)).status == 200
    assert (await post(app, content_encoding="gzip")).status == 415
    assert len(await bus.records()) == 1


async def test_a_client_that_leaves_half_way_leaves_nothing() -> None:
    bus = HeldBus()
    await call(ingress(bus), "POST", "/facebook", body=[b'{"a'], complete=False)
    assert await bus.records() == []


async def test_the_handshake_echoes_the_challenge_only_for_the_right_token() -> None:
    app = ingress(HeldBus())
    right = await call(app, "GET", "/facebook", query="token=yes&challenge=1158201444")
    assert (right.status, right.body, right.headers["content-type"]) == (
        200,
        b"1158201444",
        "text/plain; charset=utf-8",
    )
    assert (await call(app, "GET", "/facebook", query="token=no&challenge=1")).status == 403
    assert (await call(app, "GET", "/facebook", query="&".join(["a=1"] * 40))).status == 400


async def test_other_methods_are_a_405_that_says_which_are_taken() -> None:
    answer = await call(ingress(HeldBus()), "PUT", "/facebook")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


def test_the_signing_source_of_these_tests_is_one() -> None:
    headers = [(b"x-hub-signature-256", signature(BODY))]
    assert SigningSource().verify(headers, BODY) == Accepted("page")
