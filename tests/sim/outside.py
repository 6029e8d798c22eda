"""Everybody outside the process: people, agents, and the provider that posts. They live on when it is killed."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from msgspec import Raw, Struct

from airy.actors.commands import Cause, Done, Subscription
from airy.actors.commands.outcome import Conflict, Unknown
from airy.errors import Refused, Unavailable
from airy.model import ids
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sim.messenger.core import Post
from airy.sim.messenger.options import DEMO_PAGE

if TYPE_CHECKING:
    from tests.sim.world import Life, World

T = TypeVar("T")
HOOK = "https://hook.example.org/airy"
WEBHOOK_ID = ids.derive("sim", "webhook")
CHANNEL_ID = ids.channel_id("facebook", DEMO_PAGE.id)
TRIES_MAX = 200


class Answered(Struct, frozen=True):
    """What an agent was told about a message it sent."""

    key: str
    message_id: str
    text: str


class Outside:
    def __init__(self, world: "World") -> None:
        self._world = world
        self.finished = anyio.Event()
        self.acknowledged: list[Post] = []
        self.answers: list[Answered] = []
        self.written: dict[str, str] = {}  # mid → text as last edited
        self.unsent: set[str] = set()
        self._people: list[str] = []
        self._due = anyio.Event()

    async def run(self) -> None:
        self._world.messenger.changed = self._wake
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._post_all)
            await self._set_up()
            for number in range(self._world.shape.steps):
                await anyio.sleep(self._world.random.choice((0.0, 0.05, 0.5, 3.0)))
                await self._step(number)
            self.finished.set()
            await anyio.sleep_forever()

    # --- the provider

    def _wake(self) -> None:
        self._due.set()

    async def _post_all(self) -> None:
        messenger, clock = self._world.messenger, self._world.clock
        async with anyio.create_task_group() as tasks:
            while True:
                self._due = anyio.Event()
                for post in messenger.advance(clock.now_ms()):
                    tasks.start_soon(self._post, post)
                due_ms = messenger.next_due_ms()
                wait_s = 3600.0 if due_ms is None else max(0.001, (due_ms - clock.now_ms()) / 1000)
                with anyio.move_on_after(wait_s):
                    await self._due.wait()

    async def _post(self, post: Post) -> None:
        process = self._world.process
        status = None if process is None else await process.post(post.body, post.headers)
        if status is not None and 200 <= status < 300:
            self.acknowledged.append(post)
        self._world.messenger.posted(post, status, self._world.clock.now_ms())

    # --- agents and people

    async def _ask(self, question: Callable[["Life"], Awaitable[T]]) -> T | None:
        """Ask the process until it answers; None: it says that this cannot be."""
        for _ in range(TRIES_MAX):
            process = self._world.process
            if process is not None:
                try:
                    answer = await process.call(lambda life=process: question(life))  # type: ignore[misc]
                except Unavailable:
                    answer = None
                except Refused:
                    return None
                except Exception:  # noqa: BLE001 - a fault crashed the request: HTTP has 500 for it
                    answer = None
                if answer is not None:
                    return answer
            await anyio.sleep(0.5)
        raise AssertionError("the process did not answer for a very long time")

    async def _set_up(self) -> None:
        for _ in range(self._world.shape.people):
            self._people.append(self._world.messenger.person())
        early = self._people[0]
        self.written[self._world.messenger.says(early, "hello before anybody listens", self._now_ms())] = "early"
        hook = Subscription(url=HOOK, name="sim", events=(), signature_key=Secret("content-key"))
        await self._ask(lambda life: life.parts.commands.webhooks.subscribe(hook, _cause("hook"), WEBHOOK_ID))
        await self._ask(
            lambda life: life.parts.commands.channels.connect_facebook(
                DEMO_PAGE.id,
                Secret(DEMO_PAGE.token),
                name=None,
                image_url=None,
            )
        )

    async def _step(self, number: int) -> None:
        action = self._world.random.choices(
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
        psid = self._world.random.choice(self._people)
        text = f"message {number}"
        self.written[self._world.messenger.says(psid, text, self._now_ms())] = text

    async def _burst(self, number: int) -> None:
        for nth in range(4):
            await self._says(number * 10 + nth)

    async def _answers(self, number: int) -> None:
        conversation_id = self._conversation()
        key, text = f"key-{self._world.seed}-{number}", f"answer {number}"
        content = Raw(msgspec.json.encode({"text": text}))
        done: Done[Message] | None = await self._ask(
            lambda life: life.parts.commands.messages.send(
                content,
                _cause(key),
                conversation_id=conversation_id,
            )
        )
        if done is not None:
            self.answers.append(Answered(key, done.value.id, text))

    async def _agent(self, number: int) -> None:
        conversation_id, cause = self._conversation(), _cause(f"agent {number}")
        tag_id = ids.derive("tag", str(number % 3))
        nth = self._world.random.randrange(5)

        async def act(life: "Life") -> bool:
            commands = life.parts.commands
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
            except (Unknown, Conflict):
                pass
            return True

        await self._ask(act)

    async def _reads(self, _number: int) -> None:
        self._world.messenger.reads(self._world.random.choice(self._people), self._now_ms())

    async def _reacts(self, _number: int) -> None:
        if self.written:
            mid = self._world.random.choice(list(self.written))
            self._world.messenger.reacts(
                self._author(), mid, self._world.random.choice(("👍", "❤️", None)), self._now_ms()
            )

    async def _edits(self, number: int) -> None:
        psid = self._world.random.choice(self._people)
        mid = self._world.messenger.says(psid, f"draft {number}", self._now_ms())
        self._world.messenger.edits(psid, mid, f"edited {number}", self._now_ms())
        self.written[mid] = f"edited {number}"

    async def _unsends(self, number: int) -> None:
        psid = self._world.random.choice(self._people)
        mid = self._world.messenger.says(psid, f"regret {number}", self._now_ms())
        self._world.messenger.unsends(psid, mid, self._now_ms())
        self.written[mid] = f"regret {number}"
        self.unsent.add(mid)

    def _author(self) -> str:
        return self._world.random.choice(self._people)

    def _conversation(self) -> str:
        return ids.conversation_id(CHANNEL_ID, self._world.random.choice(self._people))

    def _now_ms(self) -> int:
        return self._world.clock.now_ms()


def _cause(key: str) -> Cause:
    return Cause(caller="agent", request_id=key, key=key)
