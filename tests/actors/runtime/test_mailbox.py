"""Mailboxes alone, and across the restarts of the actor behind them."""

import anyio
import anyio.lowlevel
import pytest

from airy.actors.runtime import (
    Backoff,
    Child,
    Context,
    Crashed,
    Mailbox,
    Request,
    Restart,
    Supervision,
    TimedOut,
)
from airy.actors.runtime.mailbox import YIELD_EVERY
from tests.kit.running_tree import actor_of, idle, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


class Double(Request[int], frozen=True):
    number: int


async def test_messages_are_received_in_the_order_they_were_sent() -> None:
    mailbox: Mailbox[int] = Mailbox(10)
    for number in range(5):
        await mailbox.address.tell(number)
    assert [await mailbox.get() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_tell_waits_while_full_and_offer_refuses() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    assert [mailbox.address.offer(number) for number in range(3)] == [True, True, False]
    with pytest.raises(TimeoutError), anyio.fail_after(100):
        await mailbox.address.tell(3)
    assert mailbox.used == 2
    assert await mailbox.get_batch(10) == [0, 1]


async def test_waiting_senders_are_admitted_in_order_and_none_overtakes() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.address.offer(0)
    async with anyio.create_task_group() as tasks:
        for number in range(1, 6):
            tasks.start_soon(mailbox.address.tell, number)
            await anyio.sleep(1)
        taken = [await mailbox.get()]
        assert not mailbox.address.offer(99)
        taken += [await mailbox.get() for _ in range(5)]
    assert taken == [0, 1, 2, 3, 4, 5]


async def test_taking_a_batch_admits_waiting_senders() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    while mailbox.address.offer(0):
        pass
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.address.tell, 1)
        tasks.start_soon(mailbox.address.tell, 2)
        await anyio.sleep(1)
        assert await mailbox.get_batch(10) == [0, 0]
        assert mailbox.used == 2


async def test_a_tell_cancelled_while_waiting_queues_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.address.offer(0)
    with anyio.move_on_after(1):
        await mailbox.address.tell(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.address.tell, 2)
        await anyio.sleep(1)
        assert [await mailbox.get(), await mailbox.get()] == [0, 2]


async def test_control_messages_overtake_data_and_keep_their_own_order() -> None:
    mailbox: Mailbox[str] = Mailbox(10)
    await mailbox.address.tell("data 1")
    await mailbox.address.tell_control("control 1")
    await mailbox.address.tell("data 2")
    await mailbox.address.tell_control("control 2")
    assert await mailbox.get_batch(3) == ["control 1", "control 2", "data 1"]
    await mailbox.address.tell_control("control 3")
    assert [await mailbox.get(), await mailbox.get()] == ["control 3", "data 2"]


async def test_a_full_data_queue_does_not_block_control_and_control_is_bounded_too() -> None:
    mailbox: Mailbox[int] = Mailbox(1, control_capacity=2)
    assert mailbox.address.offer(1)
    await mailbox.address.tell_control(2)
    await mailbox.address.tell_control(3)
    with anyio.move_on_after(1) as limit:
        await mailbox.address.tell_control(4)
    assert limit.cancelled_caught


async def test_a_batch_holds_what_is_queued_and_is_never_empty() -> None:
    mailbox: Mailbox[int] = Mailbox(10)
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(5)
            mailbox.address.offer(1)
            mailbox.address.offer(2)

        tasks.start_soon(later)
        assert await mailbox.get_batch(100) == [1, 2]
    for number in range(5):
        mailbox.address.offer(number)
    assert await mailbox.get_batch(3) == [0, 1, 2]
    assert await mailbox.get_batch(3) == [3, 4]
    with pytest.raises(ValueError, match="at least 1"):
        await mailbox.get_batch(0)


@pytest.mark.parametrize("batch", [1, 7])
async def test_a_receiver_that_never_waits_still_yields(batch: int) -> None:
    mailbox: Mailbox[int] = Mailbox(10 * YIELD_EVERY)
    while mailbox.address.offer(0):
        pass
    seen = []

    async def snapshot() -> None:
        while mailbox.used:
            seen.append(mailbox.used)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(snapshot)
        while mailbox.used:
            await (mailbox.get() if batch == 1 else mailbox.get_batch(batch))
    assert len(seen) >= 8


async def test_a_receiver_that_is_cancelled_loses_no_message() -> None:
    mailbox: Mailbox[int] = Mailbox(10 * YIELD_EVERY)
    received = []

    async def receive() -> None:
        while True:
            received.append(await mailbox.get())

    numbers = iter(range(9 * YIELD_EVERY))
    for _ in range(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            for _ in range(30):
                mailbox.address.offer(next(numbers))
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    received += await mailbox.get_batch(10 * YIELD_EVERY) if mailbox.used else []
    assert received == list(range(9 * YIELD_EVERY))


def test_a_mailbox_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox(0)


class Doubler:
    """Doubles numbers; a negative one crashes it, and zero blocks it for ever."""

    def __init__(self, mailbox: Mailbox[Double], handled: list[int]) -> None:
        self.mailbox, self.handled = mailbox, handled

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while True:
            for request in await self.mailbox.get_batch(10):
                await anyio.sleep(0.1)
                self.handled.append(request.number)
                if request.number < 0:
                    raise RuntimeError("boom")
                if request.number == 0:
                    with ctx.waiting():
                        await anyio.sleep_forever()
                self.mailbox.reply(request, 2 * request.number)


class DoublerSystem:
    def __init__(self, *, restart: Restart = "permanent") -> None:
        self.mailbox: Mailbox[Double] = Mailbox(10)
        self.handled: list[int] = []
        child = Child(
            name="doubler",
            start=lambda: Doubler(self.mailbox, self.handled),
            restart=restart,
            drain_s=0,
            mailbox=self.mailbox,
        )
        sibling = Child(name="sibling", start=actor_of(idle))
        self.spec = Supervision(name="airy", children=(child, sibling), backoff=STEADY)

    async def ask(self, number: int, *, within_s: float = 10.0) -> tuple[int | str, float]:
        """The answer, or the name of what came instead, and after how long."""
        began_at = anyio.current_time()
        answer: int | str
        try:
            answer = await self.mailbox.address.ask(Double(number), within_s=within_s)
        except (Crashed, TimedOut) as error:
            answer = type(error).__name__
        return answer, round(anyio.current_time() - began_at, 3)


async def asked(system: DoublerSystem, *numbers: int) -> list[tuple[int | str, float]]:
    """The replies to requests made at the same time, in their order."""
    answers = {}

    async def ask(number: int) -> None:
        answers[number] = await system.ask(number)

    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(ask, number)
            await anyio.sleep(0.001)
    return [answers[number] for number in numbers]


async def test_a_request_gets_its_reply() -> None:
    system = DoublerSystem()
    async with running(system.spec):
        assert await system.ask(21) == (42, 0.1)


async def test_the_same_message_asked_twice_is_two_requests() -> None:
    system = DoublerSystem()
    same = Double(4)
    answers = []

    async def ask() -> None:
        answers.append(await system.mailbox.address.ask(same, within_s=5))

    async with running(system.spec), anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
    assert answers == [8, 8]


async def test_a_reply_after_the_timeout_is_dropped() -> None:
    system = DoublerSystem()
    async with running(system.spec):
        assert await system.ask(1, within_s=0.05) == ("TimedOut", 0.05)
        await anyio.sleep(1)
        assert system.handled == [1]
        assert await system.ask(2) == (4, 0.1)


async def test_a_request_may_time_out_while_it_waits_to_be_queued() -> None:
    system = DoublerSystem()
    async with running(system.spec):
        for _ in range(12):
            system.mailbox.address.offer(Double(0))
            await anyio.sleep(0.01)
        while system.mailbox.address.offer(Double(0)):
            pass
        assert await system.ask(1, within_s=3) == ("TimedOut", 3.0)
        assert system.mailbox.used == 10


async def test_the_address_survives_a_restart_and_queued_requests_are_answered_by_the_restarted_actor() -> None:
    system = DoublerSystem()
    async with running(system.spec) as tree:
        await anyio.sleep(1)
        first, second = await asked(system, -1, 5)
        assert first[0] == "Crashed"
        assert second[0] == 10
        assert second[1] > 1.0
        assert tree.snapshot("doubler").restarts == 1


async def test_messages_taken_before_a_crash_are_not_redelivered_and_their_requests_fail() -> None:
    system = DoublerSystem()
    system.mailbox.address.offer(Double(1))
    async with running(system.spec):
        await anyio.sleep(0.05)
        answers = await asked(system, -1, 2, 3)
        assert [answer for answer, _ in answers] == ["Crashed"] * 3
        await anyio.sleep(5)
        assert await system.ask(4) == (8, 0.1)
    assert system.handled == [1, -1, 4]


async def test_sending_to_an_actor_that_has_ended_for_good_fails_at_once() -> None:
    system = DoublerSystem(restart="temporary")
    async with running(system.spec):
        await anyio.sleep(1)
        first, second = await asked(system, -1, 5)
        assert (first[0], second[0]) == ("Crashed", "Crashed")
        assert (await system.ask(1))[0] == "Crashed"
        with pytest.raises(Crashed, match="accepts no more messages"):
            await system.mailbox.address.tell(Double(1))
        assert not system.mailbox.address.offer(Double(1))


async def test_waiting_senders_fail_when_the_tree_ends() -> None:
    system = DoublerSystem()
    turned_away = []

    async def tell() -> None:
        try:
            await system.mailbox.address.tell(Double(1))
        except Crashed:
            turned_away.append(anyio.current_time())

    async with anyio.create_task_group() as tasks, running(system.spec):
        system.mailbox.address.offer(Double(0))
        await anyio.sleep(1)
        while system.mailbox.address.offer(Double(0)):
            pass
        tasks.start_soon(tell)
        await anyio.sleep(1)
        assert not turned_away
        ended_at = anyio.current_time()
    assert turned_away == [ended_at]


async def test_a_mailbox_reopens_when_its_tree_runs_again() -> None:
    system = DoublerSystem()
    for _ in range(2):
        async with running(system.spec):
            assert await system.ask(3) == (6, 0.1)


async def test_a_request_that_waits_to_be_queued_survives_a_crash() -> None:
    """It was never taken: the restarted actor replies."""
    mailbox: Mailbox[Double] = Mailbox(1)
    first, second = Double(1), Double(2)
    mailbox.address.offer(first)
    answers = []

    async def ask() -> None:
        answers.append(await mailbox.address.ask(second, within_s=10))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(1)
        mailbox.release("the first run crashed")
        assert [await mailbox.get(), await mailbox.get()] == [first, second]
        mailbox.reply(second, 4)
    assert answers == [4]


async def test_requests_that_timed_out_are_discarded() -> None:
    mailbox: Mailbox[Double] = Mailbox(100)
    for number in range(50):
        with pytest.raises(TimedOut):
            await mailbox.address.ask(Double(number), within_s=1)
    assert len(mailbox._pending_replies) == 0
