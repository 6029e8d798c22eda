"""The page of access says what the code does: nothing it needs is missing, and nothing more is granted."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog
from msgspec import Raw

from airy import access, components, topics
from airy.actors.webhooks.dead_letters import KEEP_MS, record
from airy.app import watch
from airy.app.roll import FORGET_S
from airy.bus.api import Ownership, Subscription, Tail
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.topic import Topic
from airy.fetch import Answer
from airy.model.process import ProcessStatus
from tests.kit.builders import dead
from tests.kit.world import run_seeded
from tests.sim.endpoint import Endpoint
from tests.sim.outside import CHANNEL_ID, WEBHOOK_ID, Outside, _cause
from tests.sim.world import DROP, MILD, World

ACTORS = {  # the outermost of these modules on the stack is the actor
    "airy.actors.follower": "store",
    "airy.bus.table": "router",  # in a task of its own; the roll's is in the roll's
    "airy.actors.router": "router",
    "airy.actors.unpark": "unpark",
    "airy.actors.connector": "connector",
    "airy.app.presence": "announcer",
    "airy.app.roll": "roll",
    "airy.actors.webhooks.publisher": "publisher",
    "airy.actors.webhooks.dispatcher": "dispatcher",
    "airy.actors.webhooks.attempts": "dispatcher",
    "airy.actors.webhooks.courier": "dispatcher",
    "airy.actors.webhooks.dead_letters": "dispatcher",
    "airy.http.ingress": "ingress",
    "airy.http.sharing": "ingress",
    "airy.actors.commands.messages": "api-communication/commands",
    "airy.actors.commands.conversations": "api-communication/commands",
    "airy.actors.commands.annotations": "api-communication/commands",
    "airy.actors.commands.entities": "api-admin/commands",
    "airy.actors.commands.dead": "api-admin/commands",
    "airy.actors.commands.webhooks": "api-admin/commands",
    "airy.actors.commands.channels": "commands",
}
Seen = tuple[str, str, str]  # actor, what it does, to which topic or group


def actor() -> str:
    frame, found = sys._getframe(1), ""
    while frame is not None:
        found = ACTORS.get(frame.f_globals.get("__name__", ""), found)
        frame = frame.f_back  # type: ignore[assignment]
    return found


class RecordingBus(MemoryBus):
    """Notes who does what."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: set[Seen] = set()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        self.seen |= {(actor(), "writes", emit.topic) for emit in emits}
        return await super().publish(emits)

    def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        ownership: Ownership | None = None,
    ) -> AbstractAsyncContextManager[Subscription]:
        self.seen |= {(actor(), "reads", topic.name) for topic in topics} | {(actor(), "joins", group)}
        return super().subscribe(topics, group=group, ownership=ownership)

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        who = actor()
        self.seen |= {(who, "reads", where.topic) for where in start}
        async with super().tail(start) as tail:
            yield tail


class Gone(Endpoint):
    """Takes what comes, until it is no more."""

    gone = False

    async def __call__(self, *arguments: Any, **options: Any) -> Answer:
        return Answer(410, {}, b"") if self.gone else await super().__call__(*arguments, **options)


class Everything(Outside):
    """After a usual day, once each thing that writes somewhere else."""

    async def run(self) -> None:
        self._world.messenger.changed = self._wake
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._post_all)
            self._world.messenger.says(self._world.messenger.person(), "is anybody there?", self._now_ms())
            await anyio.sleep(5.0)
            await self._set_up()
            for number, age_ms in enumerate((0, KEEP_MS + 1)):
                one = dead(number, WEBHOOK_ID, died_at_ms=self._now_ms() - age_ms)
                await self._world.bus.publish([record(one)])
            for number in range(6):
                await anyio.sleep(3.0)
                await self._says(number)
                await self._answers(number)
            await self._ask(self._administer)
            raw = topics.source_events("facebook").emit("page", b"{not json")
            await self._world.bus.publish([raw, Emit(topics.EVENTS.name, 0, b"nobody", b"no fact")])
            self._world.endpoint.gone = True  # type: ignore[attr-defined]
            await self._says(100)
            gone = ProcessStatus(
                instance="gone", version="1", started_at_ms=0, at_ms=self._now_ms(), beat_ms=1_000, ready=True
            )
            await self._world.bus.publish([topics.COMPONENTS.emit(gone.instance, gone)])
            await anyio.sleep(FORGET_S + 60.0)
            self.finished.set()
            await anyio.sleep_forever()

    async def _administer(self, life: Any) -> bool:
        commands, cause = life.parts.commands, _cause("admin")
        tag = await commands.tags.create("new", "tag-blue", cause)
        await commands.tags.delete(tag.value.id)
        template = await commands.templates.create("hello", "facebook", Raw(b'{"text":"hello"}'), cause)
        await commands.templates.delete(template.value.id)
        await commands.channels.update(CHANNEL_ID, name="shop", image_url=None)
        await commands.metadata.upsert("channel", CHANNEL_ID, Raw(b'{"a":1}'), cause)
        await commands.conversations.mark_read(self._conversation(), _cause("read"))
        await commands.webhooks.rotate_secret(WEBHOOK_ID)
        await commands.dead.replay_of(life.parts.queue, WEBHOOK_ID)
        return True


@pytest.fixture(scope="module")
def seen() -> set[Seen]:
    structlog.configure(processors=[DROP])

    async def live() -> set[Seen]:
        world = World(3, MILD)
        bus = world.bus = RecordingBus(topics.ALL, clock=world.clock)
        world.endpoint = Gone(world.random, trouble=0.0)
        world.outside = Everything(world)
        world.announced = True
        await world.live()
        assert world.peaceful
        return bus.seen

    return run_seeded(3, live)


def granted() -> set[Seen]:
    """The page, actor by actor."""
    found = {(who, "writes", topic.name) for topic in topics.ALL for who in topic.writers}
    found |= {(who, "reads", topic.name) for topic in topics.ALL for who in topic.readers}
    return {(who.removeprefix("sources-facebook/"), what, name) for who, what, name in found} | {
        (who.partition("/")[2], "joins", group) for who, group in access.GROUPS.items()
    }


def test_the_page_is_what_actors_do(seen: set[Seen]) -> None:
    """Commands about channels are several components'; the page names them together."""
    channels = topics.CHANNELS.name
    done = {
        ("commands" if who.endswith("commands") and name == channels else who, what, name)
        for who, what, name in seen
        if who  # else it is this test
    }

    assert done - granted() == set(), "not granted"
    assert granted() - done == set(), "granted for nothing"


def test_every_component_is_on_the_page() -> None:
    assert set(access.ACTORS) == set(components.BY_NAME)
    for name, component in components.BY_NAME.items():
        assert set(component.actors) - {"http"} <= set(access.actors(name)), name


def test_whoever_writes_or_reads_is_in_some_component() -> None:
    """Or a broker with access lists would let nobody do it."""
    for topic in topics.ALL:
        for named in (*topic.writers, *topic.readers):
            assert any(access._has(component, [named]) for component in access.ACTORS), (topic, named)
    assert [name for name in access.ACTORS if access.reads(name, topics.COMPONENTS)] == ["api-admin"]
    assert all(access.writes(name, topics.COMPONENTS) for name in access.ACTORS)


@pytest.mark.parametrize("component", access.ACTORS)
def test_lag_is_asked_of_what_a_component_may_see(component: str) -> None:
    for group, read in watch.groups({component}).items():
        assert group in access.groups(component)
        assert all(access.reads(component, topic) for topic in read)


def test_an_access_list_has_the_names_of_the_wire_and_nothing_twice() -> None:
    lines = access.acls("webhook-publisher", named=lambda name: f"prod.{name}", principal="User:p")

    assert {line.principal for line in lines} == {"User:p"}
    assert all(line.name.startswith("prod.") for line in lines)
    assert len(set(lines)) == len(lines)
    assert [line for line in lines if line.resource == "group"] == [
        access.Acl("User:p", "group", "prod.webhook-publisher", "Read")
    ]
    assert {line.name for line in lines if line.operation == "Write"} == {
        "prod.dlq.application.communication.events",
        "prod.ops.application.components",
    }


def test_a_component_uses_what_it_reads_and_writes_and_no_more() -> None:
    (unfoldable,) = [topic for topic in topics.ALL if topic.name == f"dlq.{topics.EVENTS.name}"]
    assert set(access.used(["http"])) == {*topics.FOLDED, unfoldable, topics.COMPONENTS}
    assert set(access.used(access.ACTORS)) == set(topics.ALL)
