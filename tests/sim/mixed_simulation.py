"""The simulation of one process with every source that has a simulated provider, all at once.

People of all sources write, tap, react and send pictures; agents answer in common terms; every provider refuses, loses
and repeats by seed, on its own schedule, and its clock is sometimes impossible. `mixed_problems` checks G1, G2 and G7
from the providers' side, order and times, and what `checkers` checks for every simulation.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from airy.commands import WebhookChanges, Written
from airy.commands.channels import ConnectResult
from airy.config import Config, HttpConfig
from airy.config_file import config_of_text
from airy.errors import Refused
from airy.http_client import HttpClient, Response
from airy.model import ids
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sim.provider import Behaviour, PendingWebhook, SimHttpClient, SimulatedProvider, WebhookAnswer, WebhookSender
from airy.sim.provider.acts import PersonAct, Presses, Reacts, Says, SendsMedia
from airy.sim.provider.api import UNPOSTED
from airy.sim.provider.setup import Connect, yaml
from airy.sources.provider_time import AFTER_ARRIVAL_MAX_MS, BEFORE_ARRIVAL_MAX_MS
from airy.store.sqlite import SqliteStore
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.simulated import ALL_PROVIDERS, form_of, kind_named
from tests.sim import checkers
from tests.sim.simulation import Simulation, SimulationSize
from tests.sim.traffic import HOOK, WEBHOOK_ID, SentAnswer, Traffic, _context

DAY_MS = 86_400_000
PROVIDER_CLOCKS_MS = (0, 0, 0, 0, 5_000, -3 * DAY_MS, 3650 * DAY_MS, -14_600 * DAY_MS)  # ahead of ours
PEOPLE_PER_ACCOUNT = 2
STEPS_PER_PROVIDER = 8


class SimulatedPerson(Struct, frozen=True):
    core: Any
    id: str
    kind: str
    conversation_id: str


class MixedSimulation(Simulation):
    def __init__(self, seed: int, size: SimulationSize) -> None:
        self.cores = self.make_cores(seed, size.behaviour)
        self.sources = tuple(name for core in self.cores for name in core.setup("").sections)
        super().__init__(seed, size)
        self.traffic: MixedTraffic = MixedTraffic(self)

    @staticmethod
    def make_cores(seed: int, behaviour: Behaviour) -> list[SimulatedProvider[Any]]:
        patient = replace(behaviour, redelivers_always=True)
        return [make(patient, seed=seed) for make in ALL_PROVIDERS]

    def make_config(self) -> Config:
        setups = [core.setup(core.default_address) for core in self.cores]
        return replace(config_of_text(yaml(*setups, public_url=PUBLIC_URL)), http=HttpConfig(public_url=PUBLIC_URL))

    def begin(self) -> None:
        self.clients: dict[str, HttpClient] = {
            urlsplit(core.default_address).netloc: SimHttpClient(core, self.clock, post=self.traffic.post)
            for core in self.cores
        }

    def heal_provider(self) -> None:
        for core in self.cores:
            core.options = replace(core.options, behaviour=Behaviour(redelivers_always=True))

    def provider_is_done(self) -> bool:
        return not any(core.pending for core in self.cores)

    async def fetch(self, method: str, url: str, **options: Any) -> Response:  # type: ignore[override]
        port: HttpClient = self.clients.get(urlsplit(url).netloc, self.endpoint)
        return await port(method, url, **options)


class MixedTraffic(Traffic):
    def __init__(self, simulation: MixedSimulation) -> None:
        super().__init__(simulation)
        self._mixed = simulation
        self.people: list[SimulatedPerson] = []
        self.said: dict[str, SimulatedPerson] = {}

    async def run(self) -> None:
        simulation, random = self._mixed, self._mixed.random
        async with anyio.create_task_group() as tasks:
            for core in simulation.cores:
                tasks.start_soon(WebhookSender(core, simulation.clock, self.post).run)
            await self._set_up()
            for number in range(1, STEPS_PER_PROVIDER * len(simulation.cores) + 1):
                await anyio.sleep(random.choice((0.0, 0.05, 0.5, 3.0)))
                person = random.choice(self.people)
                await random.choice((self._writes, self._writes, self._is_answered, self._is_answered, self._acts))(
                    number, person
                )
            self.finished.set()
            await anyio.sleep_forever()

    async def post(self, webhook: PendingWebhook) -> WebhookAnswer:
        process = self._mixed.process
        if not webhook.url:
            return UNPOSTED
        if process is None:
            return WebhookAnswer(None)
        parts = urlsplit(webhook.url)
        return WebhookAnswer(await process.post(webhook.body, webhook.headers, path=parts.path, query=parts.query))

    async def _set_up(self) -> None:
        hook = WebhookChanges(url=HOOK, name="sim", events=(), signature_key=Secret("content-key"))
        await self._ask(
            lambda process: process.services.commands.webhooks.subscribe(hook, _context("hook"), WEBHOOK_ID)
        )
        for core in self._mixed.cores:
            for account, connect in zip(core.options.accounts, core.setup("").connects, strict=True):
                _, kind = kind_named(connect.kind)
                channel_id = ids.channel_id(kind.namespace, account.id)
                for _ in range(PEOPLE_PER_ACCOUNT):
                    person_id = core.person(account.id)
                    conversation_id = ids.conversation_id(channel_id, person_id)
                    self.people.append(SimulatedPerson(core, person_id, connect.kind, conversation_id))
                await self._writes(-len(self.people), self.people[-1])  # before it is connected: parked, or kept there
                await self._connect(connect)

    async def _connect(self, connect: Connect) -> None:
        done: Written[ConnectResult] | None = await self._ask(
            lambda process: process.services.commands.channels.connect(
                connect.kind, form_of(connect), _context(f"connect {connect.kind}")
            )
        )
        assert done is not None, f"{connect.kind} was not connected"

    # --- people and agents

    async def _writes(self, number: int, person: SimulatedPerson) -> None:
        text = f"message {number}"
        self.said[text] = person
        ahead_ms = self._mixed.random.choice(PROVIDER_CLOCKS_MS)
        person.core.acts(person.id, Says(text), self._now_ms(), ahead_ms=ahead_ms)

    async def _acts(self, number: int, person: SimulatedPerson) -> None:
        acts: Sequence[PersonAct] = (SendsMedia("image"), Presses("Hours", f"HOURS {number}"), Reacts("👍"))
        with suppress(Refused):  # not every app can do everything
            person.core.acts(person.id, self._mixed.random.choice(acts), self._now_ms())

    async def _is_answered(self, number: int, person: SimulatedPerson) -> None:
        key, text = f"key-{self._mixed.seed}-{number}", f"answer {number}"
        content = Raw(msgspec.json.encode({"canonical": {"type": "text", "text": text}}))
        done: Written[Message] | None = await self._ask(
            lambda process: process.services.commands.messages.send(
                content, _context(key), conversation_id=person.conversation_id
            )
        )
        if done is not None:
            self.answers.append(SentAnswer(key, done.value.id, text))


async def mixed_problems(simulation: MixedSimulation) -> list[str]:
    found = [] if simulation.quiescent else ["it did not become quiescent"]
    found += await _messages_of_people(simulation)
    for core in simulation.cores:
        found += [f"{core.title} was called again: {line}" for line in core.journal.violations()]
    found += [
        f"{answer.text!r} was accepted and is missing"
        for answer in simulation.traffic.answers
        if await simulation.store.message(answer.message_id) is None
    ]
    log = await checkers.records(simulation)
    reference = SqliteStore(":memory:")
    await reference.open()
    expected = await checkers.deliveries(reference, log)
    found += [line async for line in checkers._the_store_is_the_log(simulation, reference)]
    found += [*checkers._invariants(log), *checkers._deliveries_are_complete(simulation, expected)]
    await reference.close()
    return found


async def _messages_of_people(simulation: MixedSimulation) -> list[str]:
    """G1, G2: what a person wrote is exactly one message; listed in the log's order, at a time that can be."""
    found: list[str] = []
    latest_ms = simulation.clock.now_ms() + AFTER_ARRIVAL_MAX_MS + DAY_MS  # our clock jumps too
    for person in simulation.traffic.people:
        page = await simulation.store.messages(person.conversation_id, cursor=None, page_size=200)
        sequences = [message.sequence for message in page.items]
        theirs = [message for message in page.items if message.from_contact]
        texts = Counter(map(_text, theirs))
        wrote = [text for text, author in simulation.traffic.said.items() if author == person]
        found += [f"{text!r} at {person.kind} is {texts[text]} messages" for text in wrote if texts[text] != 1]
        found += [f"{person.kind} lists {sequences}"] * (sequences != sorted(sequences, reverse=True))
        found += [
            f"{_text(message)!r} at {person.kind} was sent at {message.sent_at_ms}"
            for message in theirs
            if not latest_ms - 2 * BEFORE_ARRIVAL_MAX_MS < message.sent_at_ms <= latest_ms
        ]
    return found


def _text(message: Message) -> str | None:
    parts = msgspec.json.decode(message.canonical)
    return next((part["text"] for part in parts if isinstance(part.get("text"), str)), None)
