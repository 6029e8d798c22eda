"""Channels are checked at their providers: regularly, after a start and after a refusal, each once over a fleet."""

from collections import Counter

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.connector import Connector
from airy.errors import Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.api import AppRateLimited, Checked, Target
from tests.kit.in_process import InProcessAiry
from tests.kit.providers import WIRES
from tests.kit.providers.meta import PAGE, FacebookWire
from tests.kit.scripted_harness import ScriptedHarness
from tests.kit.scripted_provider import Act

HOUR_S = 3_600.0
EVERY_S = 300.0
CHANNELS = 20


class Checks(ScriptedHarness):
    """Connectors whose source is asked to check channels, and answers with `answer`."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        super().__init__(WIRES["facebook"], kind="facebook")
        (kind,) = self.source.spec.kinds
        self.source.spec = replace(self.source.spec, kinds=(replace(kind, check_every_s=every_s),))
        self.source.check = self._check  # type: ignore[attr-defined]
        self.asked: list[tuple[str, float]] = []  # channel and time
        self.answer: Checked | Exception = Checked()
        self.recorded: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    async def _check(self, client: HttpClient, target: Target, now_ms: int) -> Checked:
        self.asked.append((target.channel.id, anyio.current_time()))
        await anyio.sleep(0.3)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _record(self, channel: Channel, checked: Checked) -> None:
        self.recorded[channel.id] += 1

    def connector(self) -> Connector:
        return Connector(
            self.bus,
            self.store,
            self.projector,
            [self.source],
            self.provider,
            self.credentials,
            record_check=self._record,
            checks=self.counts,
        )

    async def connect_pages(self, count: int = CHANNELS) -> None:
        for number in range(count):
            account = f"2049183770{number:02}"
            page = replace(self.channel, id=ids.channel_id("facebook", account), source_channel_id=account)
            await self._settled(await self.bus.publish([topics.CHANNELS.record(page.id, page)]))


async def test_a_fleet_checks_each_channel_once_in_the_period_its_kind_declares() -> None:
    harness = Checks()
    async with harness.open(one=harness.connector, two=harness.connector):
        await harness.connect_pages()
        await anyio.sleep(80)
        assert Counter(channel for channel, _ in harness.asked) == dict.fromkeys(harness.recorded, 1)
        assert len(harness.asked) == CHANNELS
        await anyio.sleep(3 * EVERY_S)
        assert all(3 <= asked <= 5 for asked in Counter(channel for channel, _ in harness.asked).values())
        assert harness.counts["ok"] == len(harness.asked)


async def test_a_start_checks_every_channel_within_a_minute_and_not_all_at_once() -> None:
    """A start may follow an outage, after which the provider may have ended the webhooks."""
    harness = Checks()
    async with harness.open():
        await harness.connect_pages()
    started = anyio.current_time()
    async with harness.open(connector=harness.connector):
        await anyio.sleep(80)
        times = [at - started for _, at in harness.asked]
        assert len(times) == CHANNELS
        assert max(times) - min(times) > 20


async def test_a_provider_that_cannot_say_is_asked_again_sooner_and_less_and_less_often() -> None:
    harness = Checks()
    harness.answer = Unavailable("busy")
    async with harness.open(connector=harness.connector):
        await harness.connect_pages(1)
        await anyio.sleep(EVERY_S)
        assert 3 <= len(harness.asked) <= 5
        assert harness.recorded == {}
        assert harness.counts["unavailable"] == len(harness.asked)


async def test_a_limit_of_the_app_holds_back_the_checks_of_all_channels() -> None:
    harness = Checks()
    harness.answer = AppRateLimited("busy", retry_after_s=600.0)
    async with harness.open(connector=harness.connector):
        await harness.connect_pages()
        await anyio.sleep(590)
        assert len(harness.asked) <= 8  # of 40


async def test_a_bug_in_one_source_ends_that_check_alone() -> None:
    harness = Checks()
    harness.answer = ValueError("a bug")
    async with harness.open(connector=harness.connector):
        await harness.connect_pages(2)
        await anyio.sleep(80)
        harness.answer = Checked()
        await anyio.sleep(1.2 * EVERY_S)
        assert len(harness.recorded) == 2
        bugs = [line for line in harness.logged.entries if line["event"] == "channel.check_failed_unexpectedly"]
        assert len(bugs) == 2


async def test_refused_credentials_lead_to_a_check_soon_and_not_to_one_for_each_message() -> None:
    harness = Checks(every_s=HOUR_S)
    async with harness.open(connector=harness.connector):
        await harness.begin()
        await anyio.sleep(120)
        before = len(harness.asked)
        harness.provider.script.extend([Act.TOKEN_REFUSED] * 5)
        for number in range(5):
            await harness.append(harness.queued(f"answer {number}"))
        await anyio.sleep(600)
        assert len(harness.asked) == before + 1


# --- through all layers


@pytest.fixture
def wire() -> FacebookWire:
    return FacebookWire()


async def test_a_page_whose_webhooks_meta_ended_is_subscribed_again_and_says_so(wire: FacebookWire) -> None:
    """Put right, logged, counted and visible in the channel."""
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        wire.fields.clear()

        await anyio.sleep(80)

        assert "messages" in wire.fields
        found = await airy.asked("/channels.info", {"channel_id": channel["id"]})
        assert "Meta had ended the webhooks of the page" in found["metadata"]["health"]["repaired"]
        assert "state" not in found["metadata"]["health"]
        line = airy.line("channel.repaired")
        assert line is not None
        assert line["channel_id"] == channel["id"]
        assert b'airy_channel_checks_total{kind="repaired"} 1.0' in (await airy.get("/metrics")).body


async def test_a_channel_that_does_not_work_says_why_until_it_works_again(wire: FacebookWire) -> None:
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        airy.provider.script.append(Act.TOKEN_REFUSED)
        await anyio.sleep(80)
        health = (await airy.asked("/channels.info", {"channel_id": channel["id"]}))["metadata"]["health"]
        assert health["state"] == "failing"
        assert f"Meta refuses the token of page {PAGE}" in health["reason"]
        assert [secret for secret in wire.secrets if secret in str(health)] == []

        stored = await airy.store.channel(channel["id"])
        assert stored is not None
        await airy.services.commands.channels.record_check(stored, Checked())
        again = (await airy.asked("/channels.info", {"channel_id": channel["id"]}))["metadata"]["health"]
        assert (again["state"], "reason" in again) == ("ok", False)
        assert again["since"] > health["since"]


async def test_a_channel_that_is_connected_anew_forgets_what_was_known_of_the_old_credentials(
    wire: FacebookWire,
) -> None:
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        await airy.connect_form()
        airy.provider.script.append(Act.TOKEN_REFUSED)
        await anyio.sleep(80)
        channel = await airy.connect_form()
        assert "health" not in channel["metadata"]


async def test_a_check_of_credentials_that_were_replaced_meanwhile_changes_nothing(wire: FacebookWire) -> None:
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        checked = await airy.store.channel(channel["id"])
        assert checked is not None
        await airy.connect_form()
        renewed = Checked(problem="expired", credentials={"token": Secret("older")}, credentials_valid_s=60.0)

        await airy.services.commands.channels.record_check(checked, renewed)

        stored = await airy.store.channel(channel["id"])
        assert stored is not None
        assert "health.state" not in stored.metadata
        assert airy.services.channel_secrets.unseal(stored, "token") == Secret("EAAPageTokenOfTheBakery0123456789")
        await airy.asked("/channels.facebook.disconnect", {"channel_id": channel["id"]})
        await airy.services.commands.channels.record_check(stored, renewed)
        assert (await airy.store.channel(channel["id"])).token is None  # type: ignore[union-attr]


async def test_a_check_that_finds_nothing_new_writes_nothing(wire: FacebookWire) -> None:
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        stored = await airy.store.channel(channel["id"])
        assert stored is not None
        for checked in (Checked(), Checked(problem="no"), Checked(problem="no"), Checked(problem="no")):
            current = await airy.store.channel(channel["id"])
            assert current is not None
            await airy.services.commands.channels.record_check(current, checked)
        assert len(await airy.records(topics.CHANNELS)) == 2  # the connect, and the first problem
