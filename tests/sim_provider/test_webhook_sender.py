"""Without sockets, in virtual time: webhooks are posted when due, and the outbound port behaves like a network.

The last test is the one that counts: a source against a rough Messenger, with the promises checked from outside.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.model import ids
from airy.model.fact import MessageEchoed, MessageReceived, ReceiptReported
from airy.secret import Secret
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import (
    ROUGH,
    Behaviour,
    PendingWebhook,
    SendFault,
    SimHttpClient,
    WebhookAnswer,
    WebhookSender,
)
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Call, Failed, Lost, Sent, Target, WebhookRequest
from tests.kit.contracts.source import conversation, outbound, raw_record
from tests.kit.providers import WIRES

OPTIONS = GraphOptions(behaviour=Behaviour(latency_ms=(100, 100), event_ms=(1000, 1000)))
SOURCE = WIRES["facebook"].source()
CHANNEL = WIRES["facebook"].channel(DEMO_PAGE.id)


class Receiver:
    """An ingress that verifies, routes and records; `status`: its next response."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.requests = 0
        self.status: int | None = 200
        self.takes_s = 0.0
        self.at_once = self.at_once_max = 0

    async def post(self, webhook: PendingWebhook) -> WebhookAnswer:
        self.requests += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        await anyio.sleep(self.takes_s)
        self.at_once -= 1
        given = [(name.encode(), text.encode()) for name, text in webhook.headers.items()]
        request = WebhookRequest(method="POST", url="", path="/facebook", headers=given, body=webhook.body)
        channels = ConnectedChannels([CHANNEL])
        assert SOURCE.verify(request, channels) == Accepted(DEMO_PAGE.id)
        routed = SOURCE.route(raw_record(SOURCE, webhook.body), channels)
        assert (routed.unknown, routed.unreadable) == ([], [])
        if self.status == 200:
            self.facts |= {fact.id: fact for fact in routed.facts}
        return WebhookAnswer(self.status)


@asynccontextmanager
async def running(core: GraphProvider, receiver: Receiver, **options: Any) -> AsyncIterator[SimHttpClient]:
    clock = LoopClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(WebhookSender(core, clock, receiver.post, **options).run)
        yield SimHttpClient(core, clock)
        tasks.cancel_scope.cancel()


def now_ms() -> int:
    return LoopClock().now_ms()


def fresh(**options: Any) -> GraphProvider:
    return GraphProvider(replace(OPTIONS, **options), now_ms=now_ms())


def call_for(message_id: str, psid: str) -> Call:
    message = outbound({"text": "certainly"})
    message.id = message_id
    target = Target(
        channel=CHANNEL,
        conversation=conversation(participant_id=psid),
        credentials={"token": Secret(DEMO_PAGE.token)},
    )
    calls = SOURCE.encode(message, target, now_ms())
    assert not isinstance(calls, Failed)
    return calls[0]


async def make(fetch: SimHttpClient, call: Call, **more: Any) -> Response:
    headers = {name: value.reveal() for name, value in call.headers.items()}
    return await fetch(call.method, call.url.reveal(), headers=headers, body=call.body, **more)


async def test_a_webhook_is_posted_when_it_is_due() -> None:
    core, receiver = fresh(), Receiver()
    async with running(core, receiver):
        core.says(core.person(), "hi", now_ms())
        await anyio.sleep(0.9)
        assert receiver.requests == 0
        await anyio.sleep(0.2)
        assert receiver.requests == 1


async def test_an_event_that_is_due_earlier_wakes_the_sender() -> None:
    core, receiver = fresh(), Receiver()
    async with running(core, receiver):
        await anyio.sleep(30)
        core.says(core.person(), "hi", now_ms())
        await anyio.sleep(1.1)
        assert receiver.requests == 1


async def test_requests_to_a_slow_receiver_are_bounded() -> None:
    core, receiver = fresh(), Receiver()
    receiver.takes_s = 10
    async with running(core, receiver, posts_parallel_max=3):
        psid = core.person()
        for number in range(7):
            core.says(psid, f"message {number}", now_ms())
        await anyio.sleep(35)
    assert (receiver.requests, receiver.at_once_max) == (7, 3)
    assert core.quiet


async def test_a_failing_receiver_gets_retries() -> None:
    core, receiver = fresh(), Receiver()
    receiver.status = 503
    async with running(core, receiver):
        core.says(core.person(), "hi", now_ms())
        await anyio.sleep(3)
        assert receiver.facts == {}
        receiver.status = 200
        await anyio.sleep(30)
    assert [type(fact) for fact in receiver.facts.values()] == [MessageReceived]
    assert core.journal.webhook_attempts[-1].attempt == receiver.requests > 2


async def test_replies_are_delayed_by_the_drawn_latency() -> None:
    core = fresh()
    async with running(core, Receiver()) as fetch:
        psid = core.person()
        core.says(psid, "hi", now_ms())
        started = anyio.current_time()
        answer = await make(fetch, call_for(ids.derive("1"), psid))
        assert anyio.current_time() - started == pytest.approx(0.1)
        assert isinstance(SOURCE.interpret([answer], 0), Sent)


@pytest.mark.parametrize(
    ("fault", "raised", "after_s"),
    [
        (SendFault.UNREACHABLE, ConnectFailed, 0.1),
        (SendFault.ACCEPTED_UNANSWERED, ResponseLost, 15),
        (SendFault.DROPPED_UNANSWERED, ResponseLost, 15),
    ],
)
async def test_missing_responses_raise_the_errors_of_the_port(
    fault: SendFault, raised: type[Exception], after_s: float
) -> None:
    core = fresh()
    async with running(core, Receiver()) as fetch:
        psid = core.person()
        core.says(psid, "hi", now_ms())
        core.expect(fault)
        started = anyio.current_time()
        with pytest.raises(raised):
            await make(fetch, call_for(ids.derive("1"), psid), total_s=15)
        assert anyio.current_time() - started == pytest.approx(after_s)


async def test_a_reply_after_the_time_out_is_response_lost() -> None:
    core = fresh()
    async with running(core, Receiver()) as fetch:
        psid = core.person()
        core.says(psid, "hi", now_ms())
        with pytest.raises(ResponseLost):
            await make(fetch, call_for(ids.derive("1"), psid), total_s=0.05)
        assert core.journal.accepted() == {ids.derive("1"): 1}


async def test_another_host_is_blocked() -> None:
    with pytest.raises(AddressBlocked, match=r"example\.org is not the simulated Graph"):
        await SimHttpClient(fresh(), LoopClock())("GET", "https://example.org/v23.0/me")


async def test_the_source_keeps_its_guarantees_under_all_faults(seed: int) -> None:
    """Customers write and are answered; in the end all words are there exactly once, and an answer whose way back was
    lost is found again in its echo.
    """
    core, receiver = fresh(seed=seed, behaviour=ROUGH, customers=8, turns_ms=(500, 2_000)), Receiver()
    lines: list[str] = []
    core.transcript = lines.append
    lost: set[str] = set()
    sent: set[str] = set()

    async def answer(fetch: SimHttpClient, message_id: str, psid: str) -> None:
        while True:
            try:
                outcome = SOURCE.interpret([await make(fetch, call_for(message_id, psid))], 0)
            except ConnectFailed:
                outcome = Failed("provider", "not sent", again_s=1.0)
            except ResponseLost as error:
                outcome = Lost(str(error))
            match outcome:
                case Sent():
                    sent.add(message_id)
                    return
                case Lost():
                    lost.add(message_id)
                    return
                case Failed(again_s=None):
                    raise AssertionError(outcome)
                case Failed(again_s=again_s):
                    await anyio.sleep(again_s or 0)

    async with running(core, receiver) as fetch, anyio.create_task_group() as tasks:
        answered: set[str] = set()
        for step in range(300):
            receiver.status = 503 if step % 50 == 49 else 200
            await anyio.sleep(0.5)
            for fact in list(receiver.facts.values()):
                if isinstance(fact, MessageReceived) and fact.id not in answered:
                    answered.add(fact.id)
                    tasks.start_soon(answer, fetch, ids.derive("answer", fact.id), fact.participant_id)
        receiver.status = 200
        core.stop_customers()
        await anyio.sleep(200)
        assert core.pending == 0

    facts = list(receiver.facts.values())
    echoes = {fact.our_message_id for fact in facts if isinstance(fact, MessageEchoed)}
    taken = {message_id for message_id, times in core.journal.accepted().items() if times}
    assert core.journal.violations() == []
    received = [fact.provider_id for fact in facts if isinstance(fact, MessageReceived)]
    assert len(received) == len(set(received)) == sum(" → " not in line for line in lines) > 50
    assert echoes == taken
    assert sent <= taken <= sent | lost
    assert 0 < len(taken & lost) < len(lost)
    assert any(isinstance(fact, ReceiptReported) for fact in facts)
    assert max(attempt.attempt for attempt in core.journal.webhook_attempts) > 1
    assert any(attempt.duplicate for attempt in core.journal.webhook_attempts)
    assert msgspec.json.encode(facts)
