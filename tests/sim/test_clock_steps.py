"""The machine's clock is set by an hour while messages, retries and pauses are under way: nothing waits for it.

After each step a new contact writes and is answered. The contact's name is looked up, the answer is sent, and both are
delivered, within a minute of the monotonic clock; so is an answer whose first attempt failed before the step.
"""

from collections.abc import Awaitable, Callable

import anyio
import msgspec
import pytest
from msgspec import Raw

from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.sim.provider import SendFault
from tests.kit.event_loops import run_seeded
from tests.sim.checkers import problems
from tests.sim.simulation import FAULT_FREE, HOUR_MS, ProcessRun, Simulation
from tests.sim.traffic import CHANNEL_ID, _context

WITHIN_S = 60.0
ENDPOINT_DOWN_S = 3.0
STEPS = {
    "back": (-HOUR_MS,),
    "forward and corrected": (HOUR_MS, 0),
    "to and fro": (-HOUR_MS, HOUR_MS, -HOUR_MS),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class SteppedSimulation(Simulation):
    def __init__(self, seed: int, steps_ms: tuple[int, ...]) -> None:
        super().__init__(seed, FAULT_FREE)
        self._steps_ms = steps_ms
        self.late: list[str] = []

    async def _until_quiescent(self, process: ProcessRun) -> None:
        await self.traffic.finished.wait()
        for number, step_ms in enumerate(self._steps_ms):
            failing = await self._answer(process, f"failing {number}", SendFault.BUSY)
            self.endpoint.failure_rate = 1.0
            await self._write(process, f"undelivered {number}")
            await anyio.sleep(ENDPOINT_DOWN_S)
            self.endpoint.failure_rate = 0.0
            self.machine_clock.set(step_ms)
            answer = await self._answer(process, f"new {number}")
            for name, message_id in (("the failed answer", failing), ("the new answer", answer)):
                await self._within(f"step {number}: {name}", self._is_sent, message_id)
        await super()._until_quiescent(process)

    async def _write(self, process: ProcessRun, text: str) -> str:
        """A new contact writes; the conversation, once the contact's name is known."""
        psid = self.messenger.person()
        self.traffic.written[self.messenger.says(psid, text, self.clock.now_ms())] = text
        conversation_id = ids.conversation_id(CHANNEL_ID, psid)
        await self._within(f"the name of the contact who wrote {text!r}", self._is_named, conversation_id)
        return conversation_id

    async def _answer(self, process: ProcessRun, text: str, fault: SendFault | None = None) -> str:
        conversation_id = await self._write(process, text)
        if fault is not None:
            self.messenger.expect(fault, times=3)  # a retry is under way at the step
        content = Raw(msgspec.json.encode({"text": f"answer to {text}"}))
        commands = process.services.commands.messages
        return (await commands.send(content, _context(text), conversation_id=conversation_id)).value.id

    async def _within(self, name: str, holds: Callable[[str], Awaitable[bool]], thing: str) -> None:
        with anyio.move_on_after(WITHIN_S) as limit:
            while not await holds(thing):
                await anyio.sleep(0.1)
        if limit.cancelled_caught:
            self.late.append(name)

    async def _is_named(self, conversation_id: str) -> bool:
        view = await self.store.conversation(conversation_id)
        return view is not None and "contact.display_name" in view.conversation.metadata

    async def _is_sent(self, message_id: str) -> bool:
        message = await self.store.message(message_id)
        sent = message is not None and message.delivery in {
            DeliveryState.SENT,
            DeliveryState.DELIVERED,
            DeliveryState.READ,
        }
        return sent and any(message_id.encode() in each.body for each in self.endpoint.accepted)


@pytest.mark.parametrize("name", STEPS)
def test_a_clock_that_is_set_delays_nothing(name: str) -> None:
    async def run() -> list[str]:
        simulation = SteppedSimulation(1, STEPS[name])
        await simulation.run()
        return [*simulation.late, *await problems(simulation)]

    assert run_seeded(1, run) == []
