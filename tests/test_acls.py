"""The ACLs are exact: actors use all that is granted and need nothing else."""

import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from msgspec import Raw

from airy import acls, components, topics
from airy.actors.feed_subscriber import FeedItem, FeedScope
from airy.actors.log_publisher import LogPublisher
from airy.actors.process_logs import ProcessLogs
from airy.actors.process_registry import EXPIRE_S
from airy.actors.runtime import Context
from airy.bus.api import RebalanceListener, Subscription, Tail
from airy.bus.dead_letter import make_dead_letter
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.commands import DeadLetterCommands, TokenGrant, TopicBrowser, UserProfile
from airy.commands.message_traces import MessageTracer, ProcessTimes, TraceReference
from airy.commands.topic_browser import BrowseRequest
from airy.http_client import Response
from airy.log_ring import LogRing
from airy.model import ids
from airy.model.contact_edit import ContactEdit
from airy.model.fleet import FleetStatus
from airy.model.process_status import ProcessStatus
from airy.permissions import PERMISSIONS, Role
from airy.sim.graph import DEMO_PAGE
from airy.sources.catalogue import BY_NAME
from airy.webhooks.dead_letter import KEEP_MS, dead_letter_record
from tests.kit.builders import dead
from tests.kit.event_loops import run_seeded
from tests.kit.silent_logs import silent_logs
from tests.sim.endpoint import SimulatedEndpoint
from tests.sim.simulation import FAULT_FREE, GRAPH, Simulation
from tests.sim.traffic import CHANNEL_ID, WEBHOOK_ID, Traffic, _context

ACTORS = {  # the outermost of these modules on the stack is the actor
    "airy.actors.projector": "store",
    "airy.actors.router": "router",
    "airy.actors.parked_replayer": "parked-replayer",
    "airy.actors.connector": "connector",
    "airy.actors.deferred_sends": "deferred-sends",
    "airy.actors.media_fetcher": "media-fetcher",
    "airy.actors.heartbeat": "heartbeat",
    "airy.actors.process_registry": "process-registry",
    "airy.actors.log_publisher": "log-publisher",
    "airy.actors.process_logs": "process-logs",
    "airy.actors.log_epoch": "broadcaster",
    "airy.actors.publisher": "publisher",
    "airy.actors.dispatcher": "dispatcher",
    "airy.actors.attempt_log": "dispatcher",
    "airy.actors.delivery": "dispatcher",
    "airy.actors.dead_deliveries": "dispatcher",
    "airy.http.ingress": "ingress",
    "airy.commands.messages": "api-communication/commands",
    "airy.commands.conversations": "api-communication/commands",
    "airy.commands.metadata": "api-communication/commands",
    "airy.commands.api_tokens": "api-admin/commands",
    "airy.commands.contacts": "api-contacts/commands",
    "airy.commands.entities": "api-admin/commands",
    "airy.commands.dead_deliveries": "api-admin/commands",
    "airy.commands.webhooks": "api-admin/commands",
    "airy.commands.channels": "commands",
    "airy.commands.users": "commands",
    "airy.commands.audit": "commands",
    "airy.commands.dead_letters": "dead-letters",
    "airy.commands.message_traces.tracer": "message-traces",
    "airy.commands.topic_browser": topics.BROWSER,
}
PREFIXES = re.compile(r"^(sources-facebook|webhook-publisher|media-resolver)/")
Seen = tuple[str, str, str]  # actor, operation, topic or group


def actor() -> str:
    frame, found = sys._getframe(1), ""
    while frame is not None:
        found = ACTORS.get(frame.f_globals.get("__name__", ""), found)
        frame = frame.f_back  # type: ignore[assignment]
    return found


class RecordingBus(MemoryBus):
    """Records the operations of each actor."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: set[Seen] = set()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        self.seen |= {(actor(), "writes", record.topic) for record in records}
        return await super().publish(records)

    def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        listener: RebalanceListener | None = None,
    ) -> AbstractAsyncContextManager[Subscription]:
        self.seen |= {(actor(), "reads", topic.name) for topic in topics} | {(actor(), "joins", group)}
        return super().subscribe(topics, group=group, listener=listener)

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        who = actor()
        self.seen |= {(who, "reads", tp.topic) for tp in start}
        async with super().tail(start) as tail:
            yield tail


class Gone(SimulatedEndpoint):
    """Accepts deliveries until `gone`."""

    gone = False

    async def __call__(self, *arguments: Any, **options: Any) -> Response:
        return Response(410, {}, b"") if self.gone else await super().__call__(*arguments, **options)


class Everything(Traffic):
    """A scenario in which every actor writes to each of its topics."""

    async def run(self) -> None:
        self._simulation.messenger.changed = self._wake
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._post_all)
            self._simulation.messenger.says(self._simulation.messenger.person(), "are you open?", self._now_ms())
            unreadable = b'{"object":"page","entry":[{"id":"%s","messaging":[1]}]}' % DEMO_PAGE.id.encode()
            await self._simulation.bus.publish([topics.source_events("facebook").record(DEMO_PAGE.id, unreadable)])
            await anyio.sleep(5.0)
            await self._set_up()
            for number, age_ms in enumerate((0, KEEP_MS + 1)):
                one = dead(number, WEBHOOK_ID, died_at_ms=self._now_ms() - age_ms)
                await self._simulation.bus.publish([dead_letter_record(one)])
            picture = f"{GRAPH}/picture.png"
            self._simulation.messenger.sends_image(self._simulation.messenger.person(), picture, self._now_ms())
            for number in range(6):
                await anyio.sleep(3.0)
                await self._says(number)
                await self._answers(number)
            await self._ask(self._administer)
            raw = topics.source_events("facebook").record("page", b"{not json")
            await self._simulation.bus.publish([raw, ProducerRecord(topics.EVENTS.name, 0, b"unknown", b"no fact")])
            self._simulation.endpoint.gone = True  # type: ignore[attr-defined]
            await self._says(100)
            gone = ProcessStatus(
                instance="gone",
                version="1",
                started_at_ms=0,
                at_ms=self._now_ms(),
                heartbeat_interval_ms=1_000,
                ready=True,
            )
            await self._simulation.bus.publish([topics.COMPONENTS.record(gone.instance, gone)])
            await anyio.sleep(EXPIRE_S + 60.0)
            self.finished.set()
            await anyio.sleep_forever()

    async def _administer(self, process: Any) -> bool:
        commands, cause = process.services.commands, _context("admin")
        tag = await commands.tags.create("new", "tag-blue", cause)
        await commands.tags.delete(tag.value.id)
        template = await commands.templates.create("hello", "facebook", Raw(b'{"text":"hello"}'), cause)
        await commands.templates.delete(template.value.id)
        grant = TokenGrant(name="reports", role="analyst", permissions=(), valid_s=60)
        await commands.api_tokens.create(grant, PERMISSIONS[Role.ADMIN], cause)
        await commands.audit.requested("/tags.delete", "admin", "token", "request")
        await commands.messages.send(Raw(b'"hello"'), cause, conversation_id=ids.derive("never"))
        await commands.users.seen(UserProfile(id="github:ines"))
        await commands.contacts.create([ContactEdit(display_name="Ines")], cause)
        await commands.channels.update(CHANNEL_ID, name="shop", image_url=None)
        await commands.metadata.upsert("channel", CHANNEL_ID, Raw(b'{"a":1}'), cause)
        await commands.conversations.mark_read(self._conversation(), _context("read"))
        await commands.webhooks.rotate_secret(WEBHOOK_ID)
        await commands.dead_deliveries.replay_of(process.services.ports.queue, WEBHOOK_ID)
        with anyio.move_on_after(1.0):
            await process.services.changes.follow(FeedScope(), None, _ignored)
        await self._replay_dead_letters()
        tracer = MessageTracer(
            self._simulation.bus,
            process.services.queries,
            process.services.ports.store,
            process.services.ports.queue,
            FleetStatus,
            ProcessTimes(process.services.projector.times, process.services.changes.times),
        )
        await tracer.trace(TraceReference(conversation_id=self._conversation()))
        await self._follow_logs()
        for topic in topics.ALL:
            await TopicBrowser(self._simulation.bus, self._simulation.clock).browse(BrowseRequest(topic=topic.name))
        return True

    async def _follow_logs(self) -> None:
        """As in a fleet: the simulated process is the only one."""
        ring = LogRing(epoch="e")
        ring.append(b"{}")
        await LogPublisher(self._simulation.bus, ring, lambda: "another").publish()
        with anyio.move_on_after(1.0):
            context = Context("process-logs", clock=self._simulation.clock, random=Random(0))
            await ProcessLogs(LogRing(epoch="f")).run(context, self._simulation.bus)

    async def _replay_dead_letters(self) -> None:
        """One of every topic whose records can become dead letters."""
        dead_letters = DeadLetterCommands(self._simulation.bus, self._simulation.clock)
        for topic in (*topics.FOLDED, topics.source_events("facebook")):
            target = topics.dead_letters_of(topic.name)
            assert target is not None
            record = Record(topic.name, 0, 1_000_000, b"key", b"no value", (), self._now_ms())
            await self._simulation.bus.publish([make_dead_letter(target, record, "no", 1)])
            await dead_letters.replay([f"{topic.name}/0/1000000"], actor="admin")


async def _ignored(_item: FeedItem) -> None:
    return


@pytest.fixture(scope="module")
def seen() -> set[Seen]:
    async def run() -> set[Seen]:
        simulation = Simulation(3, FAULT_FREE)
        bus = simulation.bus = RecordingBus(topics.ALL, clock=simulation.clock)
        simulation.endpoint = Gone(simulation.random, failure_rate=0.0)
        simulation.traffic = Everything(simulation)
        simulation.running |= {"api-websocket", "media-resolver"}
        simulation.publishes_heartbeats = True
        await simulation.run()
        assert simulation.quiescent
        return bus.seen

    with silent_logs():
        return run_seeded(3, run)


def granted() -> set[Seen]:
    """The declared operations of every actor; of one source, because those of all are derived alike."""
    found = {(who, "writes", topic.name) for topic in topics.ALL for who in topic.writers}
    found |= {(who, "reads", topic.name) for topic in topics.ALL for who in topic.readers}
    found |= {(who, "joins", group) for who, group in acls.GROUPS.items()}
    others = tuple(f"sources-{name}/" for name in BY_NAME if name != "facebook")
    topics_of_others = tuple(f"source.{name}." for name in topics.SOURCE_NAMES if name != "facebook")
    return {
        (_actor_of(PREFIXES.sub("", who), name), what, name)
        for who, what, name in found
        if not who.startswith(others) and not any(prefix in name for prefix in topics_of_others)
    }


def _actor_of(who: str, topic: str) -> str:
    """Channel commands run in several components; the simulation does not tell them apart."""
    return "commands" if who.endswith("commands") and topic == topics.CHANNELS.name else who


def test_the_actors_use_exactly_the_declared_topics_and_groups(seen: set[Seen]) -> None:
    done = {
        (_actor_of(who, name), what, name)
        for who, what, name in seen
        if who  # else the test itself
    }

    assert done - granted() == set(), "not granted"
    assert granted() - done == set(), "granted for nothing"


def test_every_component_has_actors_in_the_table() -> None:
    assert set(acls.ACTORS) == set(components.BY_ID)
    for name, component in components.BY_ID.items():
        assert set(component.actors) - {"http"} <= set(acls.actors(name)), name


def test_every_writer_and_reader_belongs_to_a_component() -> None:
    """Otherwise a broker with ACLs would deny the operation."""
    for topic in topics.ALL:
        for named in (*topic.writers, *topic.readers):
            assert any(acls._has(component, [named]) for component in acls.ACTORS), (topic, named)
    assert [name for name in acls.ACTORS if acls.reads(name, topics.COMPONENTS)] == ["api-admin"]
    assert all(acls.writes(name, topics.COMPONENTS) for name in acls.ACTORS)


@pytest.mark.parametrize("component", acls.ACTORS)
def test_lag_queries_are_covered_by_the_acls_of_a_component(component: str) -> None:
    for group, read in acls.committing_groups({component}).items():
        assert group in acls.groups(component)
        assert all(acls.reads(component, topic) for topic in read)


def test_a_source_that_brings_anothers_events_may_hand_them_over_and_its_parked_ones_may_be_read() -> None:
    handed, parked = topics.source_events("instagram"), topics.parked_events("facebook")

    writers = [name for name in acls.ACTORS if acls.writes(name, handed)]
    assert [name for name in writers if name.startswith("sources-")] == _sources("facebook", "instagram")
    readers = [name for name in acls.ACTORS if acls.reads(name, parked)]
    assert readers == ["api-admin", *_sources("facebook", "instagram")]


def _sources(*names: str) -> list[str]:
    return [f"sources-{name}" for name in names]


def test_an_acl_has_wire_names_and_no_duplicates() -> None:
    lines = acls.required_acls("webhook-publisher", wire_name=lambda name: f"prod.{name}", principal="User:p")

    assert {line.principal for line in lines} == {"User:p"}
    assert all(line.name.startswith("prod.") for line in lines)
    assert len(set(lines)) == len(lines)
    assert [line for line in lines if line.resource == "group"] == [
        acls.Acl("User:p", "group", "prod.webhook-publisher", "Read")
    ]
    assert {line.name for line in lines if line.operation == "Write"} == {
        "prod.dlq.application.communication.events",
        "prod.ops.application.components",
        "prod.ops.application.process-logs",
    }


def test_a_component_uses_exactly_the_topics_it_reads_and_writes() -> None:
    (unfoldable,) = [topic for topic in topics.ALL if topic.name == f"dlq.{topics.EVENTS.name}"]
    assert set(acls.used(["http"])) == {*topics.FOLDED, unfoldable, topics.COMPONENTS, topics.PROCESS_LOGS}
    assert set(acls.used(acls.ACTORS)) == set(topics.ALL)


def test_the_chat_plugin_writes_what_visitors_say_and_has_no_raw_events() -> None:
    assert all(acls.writes("sources-chatplugin", topic) for topic in (topics.EVENTS, topics.CHANNELS))
    assert acls.groups("sources-chatplugin") == ("sources.chatplugin.connector",)
    assert [topic.name for topic in topics.ALL if "chatplugin" in topic.name] == []
