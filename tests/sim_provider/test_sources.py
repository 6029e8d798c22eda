"""Every source against the simulated provider of its kind: connect, a person writes, answers, receipts, faults."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from airy.sim.google_api.provider import GoogleApi
from airy.sim.graph import GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SendFault, SimAccount
from airy.sim.provider.acts import PersonAct, Presses, SendsMedia
from airy.sim.telegram import TelegramProvider
from airy.sources.catalogue import SOURCES
from tests.kit.contracts.source import SAMPLES
from tests.kit.event_loops import asyncio_backend
from tests.kit.in_process import InProcessAiry
from tests.kit.simulated import PROVIDERS

PROMPT = Behaviour(latency_ms=(5, 5), event_ms=(10, 10), read=1.0)
KINDS = {kind.name: kind for spec in SOURCES for kind in spec.kinds}

PAYLOADS: dict[str, dict[str, object]] = {
    "facebook": {"text": "And butter."},
    "instagram": {"text": "And butter."},
    "whatsapp": {"type": "text", "text": {"body": "And butter."}},
    "twilio.sms": {"Body": "And butter."},
    "twilio.whatsapp": {"Body": "And butter."},
    "viber": {"type": "text", "text": "And butter."},
    "telegram": {"text": "And butter."},
    "google": {"text": "And butter."},
    "rcs": {"contentMessage": {"text": "And butter."}},
}
CANONICAL = {"canonical": {"type": "text", "text": "Yes, three left."}}

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])
every_kind = pytest.mark.parametrize("kind", list(PROVIDERS))


class Conversation:
    """One person who wrote to a connected account."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sim = PROVIDERS[kind](PROMPT)
        self.airy = InProcessAiry(sim=self.sim)

    async def open(self) -> None:
        connect = next(each for each in self.sim.setup("").connects if each.kind == self.kind)
        await self.airy.asked(f"/channels.{self.kind}.connect", connect.body)
        self.person = self.sim.person(self.sim.options.accounts[0].id)
        self.sim.says(self.person, "Is the rye bread back?", self.airy.clock.now_ms())
        self.received = await self.until(lambda message: message["from_contact"])

    async def acts(self, act: PersonAct) -> dict[str, Any]:
        """What a further act became."""
        seen = {message["id"] for message in await self.messages()}
        self.sim.acts(self.person, act, self.airy.clock.now_ms())
        return await self.until(lambda message: message["id"] not in seen and message["from_contact"])

    async def answer(self, content: object) -> str:
        body = {"conversation_id": await self.conversation_id(), "message": content}
        return str((await self.airy.asked("/messages.send", body))["id"])

    async def conversation_id(self) -> str:
        (conversation,) = (await self.airy.asked("/conversations.list"))["data"]
        return str(conversation["id"])

    async def messages(self) -> list[dict[str, Any]]:
        conversations = (await self.airy.asked("/conversations.list"))["data"]
        if not conversations:
            return []
        return list((await self.airy.asked("/messages.list", {"conversation_id": conversations[0]["id"]}))["data"])

    async def until(self, wanted: Callable[[dict[str, Any]], bool], *, within_s: float = 900.0) -> dict[str, Any]:
        with anyio.fail_after(within_s):
            while True:
                for message in await self.messages():
                    if wanted(message):
                        return message
                await anyio.sleep(0.5)

    async def until_state(self, message_id: str, *states: str) -> dict[str, Any]:
        return await self.until(lambda message: message["id"] == message_id and state_of(message) in states)

    def shown(self) -> list[tuple[bool, str]]:
        """The conversation on the person's screen."""
        return [(line.from_person, line.text) for line in self.sim.state.people[self.person].lines]


def state_of(message: dict[str, Any]) -> str:
    return str(message["metadata"].get("source", {}).get("delivery_state"))


def last_receipt(kind: str) -> str:
    return next((str(name) for name in reversed(KINDS[kind].capabilities.receipts)), "sent")


async def test_an_instagram_account_without_a_page_is_driven_by_its_own_token() -> None:
    here = Conversation("instagram")
    account = SimAccount("17841400009911002", "rye.lab", "IGAATokenOfAnHour01", kind="instagram")
    here.sim = GraphProvider(GraphOptions(accounts=(account,), behaviour=PROMPT))
    here.airy = InProcessAiry(sim=here.sim)
    async with here.airy.open():
        await here.open()
        (channel,) = (await here.airy.asked("/channels.list"))["data"]
        assert channel["metadata"]["auth"] == "instagram_login"
        assert channel["metadata"]["credentials_expire_at"]
        await here.until_state(await here.answer(CANONICAL), "read")

        assert here.shown() == [(True, "Is the rye bread back?"), (False, "Yes, three left.")]
        assert here.sim.journal.violations() == []


@every_kind
async def test_a_person_is_answered_in_both_shapes_and_receipts_arrive(kind: str) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.airy.subscribe("message.created")
        await here.open()
        for content in (CANONICAL, PAYLOADS[kind]):
            message_id = await here.answer(content)
            await here.until_state(message_id, last_receipt(kind))

        assert here.received["canonical"] == [{"type": "text", "text": "Is the rye bread back?"}]
        assert here.shown() == [(True, "Is the rye bread back?"), (False, "Yes, three left."), (False, "And butter.")]
        assert here.sim.journal.violations() == []
        assert here.sim.pending == 0
        await here.airy.until(lambda: len(here.airy.endpoint.accepted) == 3)
        events = [msgspec.json.decode(each.body)["payload"]["message"] for each in here.airy.endpoint.accepted]
        assert [event["from_contact"] for event in events] == [True, False, False]


@every_kind
async def test_each_canonical_content_is_shown_and_receipted_or_fails_by_name(kind: str) -> None:
    here = Conversation(kind)
    sends = KINDS[kind].capabilities.sends
    async with here.airy.open():
        await here.open()
        for name, sample in SAMPLES.items():
            before = len(here.shown())
            message_id = await here.answer({"canonical": sample})
            if name in sends:
                ended = await here.until_state(message_id, last_receipt(kind), "failed")
                assert state_of(ended) == last_receipt(kind), (name, ended["metadata"])
                assert len(here.shown()) > before, name
            else:
                failed = await here.until_state(message_id, "failed")
                assert failed["metadata"]["source"]["error_kind"] == "invalid", name
                assert len(here.shown()) == before, name


@every_kind
@pytest.mark.parametrize("fault", [SendFault.RATE_LIMITED, SendFault.BUSY, SendFault.UNREACHABLE])
async def test_a_passing_fault_delays_a_message(kind: str, fault: SendFault) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        here.sim.expect(fault, times=2, retry_after_s=1)
        message_id = await here.answer(CANONICAL)
        await here.until_state(message_id, "sent", "delivered", "read")

        assert [text for from_person, text in here.shown() if not from_person] == ["Yes, three left."]
        assert here.sim.journal.violations() == []


@every_kind
@pytest.mark.parametrize(("fault", "error_kind"), [(SendFault.BLOCKED, "blocked"), (SendFault.TOKEN_EXPIRED, "auth")])
async def test_a_refusal_fails_the_message_with_its_kind(kind: str, fault: SendFault, error_kind: str) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        here.sim.expect(fault)
        failed = await here.until_state(await here.answer(CANONICAL), "failed")

        # these do not say why they cannot deliver
        untold = kind in {"whatsapp", "google", "rcs"} and fault is SendFault.BLOCKED
        assert failed["metadata"]["source"]["error_kind"] == ("not_found" if untold else error_kind)
        assert len(here.shown()) == 1


@every_kind
@pytest.mark.parametrize("fault", [SendFault.ACCEPTED_UNANSWERED, SendFault.GARBLED, SendFault.DROPPED_UNANSWERED])
async def test_a_lost_answer_is_never_followed_by_a_second_call(kind: str, fault: SendFault) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        here.sim.expect(fault)
        await here.until_state(await here.answer(CANONICAL), "unknown", "sent", "delivered", "read", "failed")
        await here.airy.until(lambda: not here.sim.pending)

        assert len(here.sim.journal.sends) == 1
        assert here.sim.journal.violations() == []


@pytest.mark.parametrize("kind", ["google", "rcs"])
async def test_a_person_sees_that_an_answer_is_being_written_and_what_was_read(kind: str) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        named = {"conversation_id": await here.conversation_id()}
        await here.airy.asked("/conversations.typing", named)
        await here.airy.asked("/conversations.mark-read", named)
        line = here.sim.state.people[here.person].lines[0]
        await here.airy.until(lambda: line.state == "read")

        assert isinstance(here.sim, GoogleApi)
        assert sorted(signal.kind.removeprefix("IS_").removesuffix("_STARTED") for signal in here.sim.signals) == [
            "READ",
            "TYPING",
        ]


@pytest.mark.parametrize("kind", ["whatsapp", "twilio.sms", "twilio.whatsapp", "viber", "rcs"])
async def test_a_failure_that_is_reported_later_fails_the_message(kind: str) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        here.sim.expect(SendFault.FAILED_LATER)
        await here.until_state(await here.answer(CANONICAL), "failed")


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("facebook", Presses("Hours", "HOURS")),
        ("instagram", Presses("Hours", "HOURS")),
        ("whatsapp", Presses("Hours", "HOURS")),
        ("twilio.whatsapp", Presses("Hours", "HOURS")),
        ("telegram", Presses("Hours", "HOURS")),
        ("google", Presses("Hours", "HOURS")),
        ("rcs", Presses("Hours", "HOURS")),
    ],
)
async def test_a_tap_arrives_as_a_postback(kind: str, act: PersonAct) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        tapped = await here.acts(act)

        assert [each.get("payload") for each in tapped["canonical"]] == ["HOURS"]
        if isinstance(here.sim, TelegramProvider):
            assert len(here.sim.answered_taps) == 1


@every_kind
async def test_a_picture_arrives_as_media(kind: str) -> None:
    here = Conversation(kind)
    async with here.airy.open():
        await here.open()
        message = await here.acts(SendsMedia("image"))

        (media,) = [each for each in message["canonical"] if each["type"] == "media"]
        assert media["kind"] == "image", msgspec.json.encode(message)
