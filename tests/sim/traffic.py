"""Traffic from outside the process: contacts, agents, the provider's webhooks. It continues when the process dies."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from msgspec import Raw, Struct

from airy.commands import RequestContext, WebhookChanges, Written
from airy.commands.errors import Conflict, NotFound
from airy.errors import Refused, Unavailable
from airy.model import ids
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sim.graph import DEMO_PAGE
from airy.sim.provider import PendingWebhook
from airy.sources.facebook.spec import ConnectPage

if TYPE_CHECKING:
    from tests.sim.simulation import ProcessRun, Simulation

T = TypeVar("T")
HOOK = "https://hook.example.org/airy"
WEBHOOK_ID = ids.derive("sim", "webhook")
CHANNEL_ID = ids.channel_id("facebook", DEMO_PAGE.id)
TRIES_MAX = 200


class SentAnswer(Struct, frozen=True):
    """An accepted send of an agent."""

    key: str
    message_id: str
    text: str


class Traffic:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self.finished = anyio.Event()
        self.acknowledged: list[PendingWebhook] = []
        self.answers: list[SentAnswer] = []
        self.written: dict[str, str] = {}  # mid → text as last edited
        self.unsent: set[str] = set()
        self._people: list[str] = []
        self._due = anyio.Event()

    async def run(self) -> None:
        self._simulation.messenger.changed = self._wake
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._post_all)
            await self._set_up()
            for number in range(self._simulation.size.steps):
                await anyio.sleep(self._simulation.random.choice((0.0, 0.05, 0.5, 3.0)))
                await self._step(number)
            self.finished.set()
            await anyio.sleep_forever()

    # --- the provider

    def _wake(self) -> None:
        self._due.set()

    async def _post_all(self) -> None:
        messenger, clock = self._simulation.messenger, self._simulation.clock
        async with anyio.create_task_group() as tasks:
            while True:
                self._due = anyio.Event()
                for post in messenger.advance(clock.now_ms()):
                    tasks.start_soon(self._post, post)
                due_ms = messenger.next_due_ms()
                wait_s = 3600.0 if due_ms is None else max(0.001, (due_ms - clock.now_ms()) / 1000)
                with anyio.move_on_after(wait_s):
                    await self._due.wait()

    async def _post(self, post: PendingWebhook) -> None:
        process = self._simulation.process
        status = None if process is None else await process.post(post.body, post.headers)
        if status is not None and 200 <= status < 300:
            self.acknowledged.append(post)
        self._simulation.messenger.on_response(post, status, self._simulation.clock.now_ms())

    # --- agents and contacts

    async def _ask(self, request: Callable[["ProcessRun"], Awaitable[T]]) -> T | None:
        """Repeat the request until the process answers; None: refused."""
        for _ in range(TRIES_MAX):
            process = self._simulation.process
            if process is not None:
                try:
                    answer = await process.call(lambda process=process: request(process))  # type: ignore[misc]
                except Unavailable:
                    answer = None
                except Refused:
                    return None
                except Exception:  # noqa: BLE001 - an injected fault: HTTP would answer 500
                    answer = None
                if answer is not None:
                    return answer
            await anyio.sleep(0.5)
        raise AssertionError("the process did not answer within TRIES_MAX tries")

    async def _set_up(self) -> None:
        for _ in range(self._simulation.size.people):
            self._people.append(self._simulation.messenger.person())
        first_contact = self._people[0]
        self.written[
            self._simulation.messenger.says(first_contact, "hello before the first connect", self._now_ms())
        ] = "first_contact"
        hook = WebhookChanges(url=HOOK, name="sim", events=(), signature_key=Secret("content-key"))
        await self._ask(
            lambda process: process.services.commands.webhooks.subscribe(hook, _context("hook"), WEBHOOK_ID)
        )
        await self._ask(
            lambda process: process.services.commands.channels.connect(
                "facebook",
                ConnectPage(page_id=DEMO_PAGE.id, page_token=Secret(DEMO_PAGE.token)),
                _context("connect"),
            )
        )

    async def _step(self, number: int) -> None:
        action = self._simulation.random.choices(
            (
                self._says,
                self._answers,
                self._reads,
                self._reacts,
                self._edits,
                self._unsends,
                self._agent,
                self._burst,
            ),
            weights=(6, 6, 1, 1, 1, 1, 2, 2),
        )[0]
        await action(number)

    async def _says(self, number: int) -> None:
        psid = self._simulation.random.choice(self._people)
        text = f"message {number}"
        self.written[self._simulation.messenger.says(psid, text, self._now_ms())] = text

    async def _burst(self, number: int) -> None:
        for nth in range(4):
            await self._says(number * 10 + nth)

    async def _answers(self, number: int) -> None:
        conversation_id = self._conversation()
        key, text = f"key-{self._simulation.seed}-{number}", f"answer {number}"
        content = Raw(msgspec.json.encode({"text": text}))
        done: Written[Message] | None = await self._ask(
            lambda process: process.services.commands.messages.send(
                content,
                _context(key),
                conversation_id=conversation_id,
            )
        )
        if done is not None:
            self.answers.append(SentAnswer(key, done.value.id, text))
            if number % 3:
                await self._cancel(done.value.id, in_s=number % 3 - 1)

    async def _cancel(self, message_id: str, *, in_s: float) -> None:
        """While the connector claims it, or calls the provider, or the message waits for another attempt."""
        await anyio.sleep(in_s)

        async def act(process: "ProcessRun") -> bool:
            with suppress(Conflict):
                await process.services.commands.messages.cancel(message_id, _context(f"cancel {message_id}"))
            return True

        await self._ask(act)

    async def _agent(self, number: int) -> None:
        conversation_id, cause = self._conversation(), _context(f"agent {number}")
        tag_id = ids.derive("tag", str(number % 3))
        nth = self._simulation.random.randrange(5)

        async def act(process: "ProcessRun") -> bool:
            commands = process.services.commands
            try:
                match nth:
                    case 0:
                        await commands.conversations.mark_read(conversation_id, cause)
                    case 1:
                        await commands.conversations.tag(conversation_id, tag_id, cause)
                    case 2:
                        await commands.conversations.untag(conversation_id, tag_id, cause)
                    case 3:
                        await commands.conversations.set_state(conversation_id, "CLOSED", cause)
                    case _:
                        if self.answers:
                            await commands.messages.resend(self.answers[-1].message_id, cause)
            except (NotFound, Conflict):
                pass
            return True

        await self._ask(act)

    async def _reads(self, _number: int) -> None:
        self._simulation.messenger.reads(self._simulation.random.choice(self._people), self._now_ms())

    async def _reacts(self, _number: int) -> None:
        if self.written:
            mid = self._simulation.random.choice(list(self.written))
            self._simulation.messenger.reacts(
                self._author(), mid, self._simulation.random.choice(("👍", "❤️", None)), self._now_ms()
            )

    async def _edits(self, number: int) -> None:
        psid = self._simulation.random.choice(self._people)
        mid = self._simulation.messenger.says(psid, f"draft {number}", self._now_ms())
        self._simulation.messenger.edits(psid, mid, f"edited {number}", self._now_ms())
        self.written[mid] = f"edited {number}"

    async def _unsends(self, number: int) -> None:
        psid = self._simulation.random.choice(self._people)
        mid = self._simulation.messenger.says(psid, f"regret {number}", self._now_ms())
        self._simulation.messenger.unsends(psid, mid, self._now_ms())
        self.written[mid] = f"regret {number}"
        self.unsent.add(mid)

    def _author(self) -> str:
        return self._simulation.random.choice(self._people)

    def _conversation(self) -> str:
        return ids.conversation_id(CHANNEL_ID, self._simulation.random.choice(self._people))

    def _now_ms(self) -> int:
        return self._simulation.clock.now_ms()


def _context(key: str) -> RequestContext:
    return RequestContext(caller="agent", request_id=key, key=key)
