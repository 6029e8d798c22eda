"""The simulation of one process with any source of the catalogue, against a scripted provider.

The contact writes, the provider posts its webhooks until they are acknowledged and sometimes again, agents answer; the
provider takes, refuses and loses calls by seed, and its times are sometimes impossible. `source_problems` checks G1, G2
and G7 from the provider's side, order and times, and what `checkers` checks for every simulation.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.app.services import Services
from airy.commands import WebhookChanges, Written
from airy.config import Config, HttpConfig
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.provider_time import AFTER_ARRIVAL_MAX_MS, BEFORE_ARRIVAL_MAX_MS
from airy.store.sqlite import SqliteStore
from tests.kit.contracts.source import raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL, Webhook, Wire
from tests.kit.scripted_provider import Act, ScriptedProvider
from tests.sim import checkers
from tests.sim.simulation import Simulation, SimulationSize
from tests.sim.traffic import HOOK, WEBHOOK_ID, SentAnswer, Traffic, _context

CERTAIN_FAILURES = frozenset({Act.RATE_LIMITED, Act.UNREACHABLE, Act.BLOCKED, Act.TOKEN_REFUSED})
ACTS = (
    Act.OK,
    Act.OK,
    Act.OK,
    Act.RATE_LIMITED,
    Act.UNREACHABLE,
    Act.HANG,
    Act.TAKEN_SILENT,
    Act.CUT,
    Act.BADLY_FRAMED,
)
RETRY_S = 2.0
DAY_MS = 86_400_000
PROVIDER_CLOCKS_MS = (0, 0, 0, 0, 5_000, -3 * DAY_MS, 3650 * DAY_MS, -14_600 * DAY_MS)  # ahead of ours


class SourceSimulation(Simulation):
    def __init__(self, wire: Wire, kind: str, seed: int, size: SimulationSize) -> None:
        self.wire = wire
        self.kind = kind
        self.sources = (wire.spec.name,)
        super().__init__(seed, size)
        self.traffic: SourceTraffic = SourceTraffic(self)

    def make_config(self) -> Config:
        return Config(http=HttpConfig(public_url=PUBLIC_URL)).with_sections(self.wire.section)

    def begin(self) -> None:
        self.provider = ScriptedProvider(self.wire, self.clock, kind=self.kind, post=self.traffic.enqueue)
        declared = next(each for each in self.wire.spec.kinds if each.name == self.kind).capabilities
        self.provider.echoes = declared.echoes
        self.acts: Iterator[Act] = _acts(Random(f"acts {self.seed}"))

    def heal_provider(self) -> None:
        self.acts = iter(())
        self.provider.script.clear()

    def provider_is_done(self) -> bool:
        return not self.traffic.unposted

    async def fetch(self, method: str, url: str, **options: Any) -> Response:  # type: ignore[override]
        if url.startswith(HOOK):
            return await self.endpoint(method, url, **options)
        if (act := next(self.acts, None)) is not None:
            self.provider.script.append(act)
        port: HttpClient = self.provider
        return await port(method, url, **options)


def _acts(random: Random) -> Iterator[Act]:
    while True:
        yield random.choice(ACTS)


class SourceTraffic(Traffic):
    def __init__(self, simulation: SourceSimulation) -> None:
        super().__init__(simulation)
        self._source_simulation = simulation
        self._wire = simulation.wire
        self.unposted: list[Webhook] = []
        self.said: dict[str, bool] = {}  # text of the contact → acknowledged

    async def run(self) -> None:
        simulation = self._source_simulation
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._post_all)
            await self._set_up()
            for number in range(1, simulation.size.steps + 1):
                await anyio.sleep(simulation.random.choice((0.0, 0.05, 0.5, 3.0)))
                await (
                    self._contact_writes(number) if simulation.random.random() < 0.5 else self._agent_answers(number)
                )
            self.finished.set()
            await anyio.sleep_forever()

    # --- the provider

    async def enqueue(self, webhook: Webhook) -> None:
        self.unposted.append(webhook)
        self._wake()

    async def _post_all(self) -> None:
        random = self._source_simulation.random
        while True:
            self._due = anyio.Event()
            for webhook in random.sample(self.unposted, len(self.unposted)):
                if await self._post_webhook(webhook) and random.random() > 0.3:  # else once more
                    self.unposted.remove(webhook)
            with anyio.move_on_after(RETRY_S):
                await self._due.wait()

    async def _post_webhook(self, webhook: Webhook) -> bool:
        process = self._source_simulation.process
        headers = {name.decode(): value.decode() for name, value in self._wire.signed(webhook)}
        headers["content-type"] = webhook.content_type
        if process is None:
            return False
        status = await process.post(webhook.body, headers, path=webhook.path, query=webhook.query)
        return status is not None and 200 <= status < 300

    # --- contacts and agents

    async def _set_up(self) -> None:
        await self._contact_writes(0)  # before the channel is connected: its webhook is parked
        hook = WebhookChanges(url=HOOK, name="sim", events=(), signature_key=Secret("content-key"))
        await self._ask(
            lambda process: process.services.commands.webhooks.subscribe(hook, _context("hook"), WEBHOOK_ID)
        )
        await anyio.sleep(1.0)
        await self._ask(lambda process: self._connect(process.services))

    async def _connect(self, services: Services) -> bool:
        """Without the provider: its fake signs with fixed secrets, and a connect may make new ones."""
        channel = self._wire.channel(self._wire.accounts[self._source_simulation.kind])
        sealed = services.channel_secrets.seal(channel.id, self._wire.credentials(channel.source))
        connected = replace(channel, token=sealed.pop("token", None), secrets=sealed)
        await services.ports.bus.publish([topics.CHANNELS.record(channel.id, connected)])
        return True

    async def _contact_writes(self, number: int) -> None:
        text = f"contact {number}"
        self.said[text] = False
        at_ms = self._now_ms() + self._source_simulation.random.choice(PROVIDER_CLOCKS_MS)
        await self.enqueue(self._wire.received(self._source_simulation.kind, number + 1, text, at_ms))

    async def _agent_answers(self, number: int) -> None:
        key, text = f"key-{self._source_simulation.seed}-{number}", f"answer {number}"
        content = Raw(msgspec.json.encode({"canonical": {"type": "text", "text": text}}))
        done: Written[Message] | None = await self._ask(
            lambda process: process.services.commands.messages.send(
                content, _context(key), conversation_id=self.conversation_id()
            )
        )
        if done is not None:
            self.answers.append(SentAnswer(key, done.value.id, text))

    def conversation_id(self) -> str:
        simulation = self._source_simulation
        source = self._wire.source()
        webhook = self._wire.received(simulation.kind, 1, "?", self._now_ms())
        channels = ConnectedChannels([self._wire.channel(self._wire.accounts[simulation.kind])])
        return (
            source.route(raw_record(source, webhook.body, account=webhook.account), channels).facts[0].conversation_id
        )


async def source_problems(simulation: SourceSimulation) -> list[str]:
    found = [] if simulation.quiescent else ["it did not become quiescent"]
    found += await _contact_messages(simulation)
    found += await _times_and_order(simulation)
    found += await _answers(simulation)
    found += _repeated_calls(simulation)
    log = await checkers.records(simulation)
    reference = SqliteStore(":memory:")
    await reference.open()
    expected = await checkers.deliveries(reference, log)
    found += [line async for line in checkers._the_store_is_the_log(simulation, reference)]
    found += [*checkers._invariants(log), *checkers._deliveries_are_complete(simulation, expected)]
    await reference.close()
    return found


async def _contact_messages(simulation: SourceSimulation) -> list[str]:
    """G1, G2: what the contact wrote is exactly one message each, however often its webhook was posted."""
    page = await simulation.store.messages(simulation.traffic.conversation_id(), cursor=None, page_size=200)
    texts = Counter(_text(message) for message in page.items if message.from_contact)
    return [
        f"{text!r} of the contact is {texts[text]} messages" for text in simulation.traffic.said if texts[text] != 1
    ] + [f"{text!r} was never written" for text in texts if text not in simulation.traffic.said]


async def _times_and_order(simulation: SourceSimulation) -> list[str]:
    """Messages are listed in the log's order, and none has a time that cannot be."""
    page = await simulation.store.messages(simulation.traffic.conversation_id(), cursor=None, page_size=200)
    sequences = [message.sequence for message in page.items]
    latest_ms = simulation.clock.now_ms() + AFTER_ARRIVAL_MAX_MS + DAY_MS  # our clock jumps too
    return [f"listed as {sequences}"] * (sequences != sorted(sequences, reverse=True)) + [
        f"{_text(message)!r} was sent at {message.sent_at_ms}"
        for message in page.items
        if message.from_contact and not latest_ms - 2 * BEFORE_ARRIVAL_MAX_MS < message.sent_at_ms <= latest_ms
    ]


async def _answers(simulation: SourceSimulation) -> list[str]:
    return [
        f"{answer.text!r} was accepted and is missing"
        for answer in simulation.traffic.answers
        if await simulation.store.message(answer.message_id) is None
    ]


def _repeated_calls(simulation: SourceSimulation) -> list[str]:
    """G7: no call after one that the provider may have taken."""
    acts: Mapping[str, list[Act]] = defaultdict(list)
    for attempt in simulation.provider.attempts:
        acts[attempt.taken.text or ""].append(attempt.act)
    return [
        f"{text!r} was sent again: {[act.value for act in made]}"
        for text, made in acts.items()
        if any(act not in CERTAIN_FAILURES for act in made[:-1])
    ]


def _text(message: Message) -> str:
    (content,) = msgspec.json.decode(message.canonical)
    return str(content["text"])


def wires() -> list[tuple[str, str]]:
    """Every source and kind of the catalogue that has a provider in the test kit."""
    return [(wire.spec.name, kind.name) for wire in WIRES.values() for kind in wire.spec.kinds]
