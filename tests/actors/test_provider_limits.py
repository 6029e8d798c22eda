"""Meta refuses profile look-ups or sends: how many calls it still gets, in virtual time."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy.actors.connector import Connector
from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.sources.provider_pauses import ProviderPauses
from tests.kit.builders import Chat, raw
from tests.kit.providers import WIRES
from tests.kit.scripted_harness import ScriptedHarness

CONTACTS = 40
PARALLEL = 16  # look-ups in flight at once


def error(code: int, status: int = 400, **headers: str) -> Response:
    body = msgspec.json.encode({"error": {"message": "no", "code": code, "type": "OAuthException"}})
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class Meta:
    """Answers look-ups with `profile`, and sends with `send` unless it is None."""

    def __init__(self, harness: ScriptedHarness, profile: Response | None, send: Response | None = None) -> None:
        self._provider = harness.provider
        self._profile = profile
        self._send = send
        self.look_ups: list[float] = []
        self.sends: list[float] = []

    async def __call__(self, method: str, url: str, **request: Any) -> Response:
        about, refusal = (self.look_ups, self._profile) if method == "GET" else (self.sends, self._send)
        about.append(anyio.current_time())
        return await self._provider(method, url, **request) if refusal is None else refusal


class Harness(ScriptedHarness):
    def __init__(self) -> None:
        super().__init__(WIRES["facebook"], kind="facebook")
        self.pauses = ProviderPauses()

    def running(self, meta: Meta) -> AbstractAsyncContextManager[Any]:
        """With a connector that calls `meta`."""

        def connector() -> Connector:
            return Connector(
                self.bus, self.store, self.projector, [self.source], meta, self.credentials, pauses=self.pauses
            )

        return self.open(connector=connector)

    def chat(self, number: int) -> Chat:
        return Chat(number, source_channel_id=self.channel.source_channel_id)

    async def contacts_write(self) -> None:
        await self.connect()
        for number in range(CONTACTS):
            await self.append(self.chat(number).received(f"hello {number}"))


REFUSALS: Mapping[str, tuple[Response, int]] = {
    "code 4 with Retry-After 600": (error(4, retry_after="600"), 2 * PARALLEL),
    "code 190": (error(190, 401), 2 * PARALLEL),
    "500": (error(2, 500), 12 * CONTACTS),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refused_look_ups_back_off(name: str) -> None:
    refusal, calls_max = REFUSALS[name]
    harness = Harness()
    meta = Meta(harness, refusal)
    async with harness.running(meta):
        await harness.contacts_write()
        await anyio.sleep(1_100)

        assert 0 < len(meta.look_ups) <= calls_max
        in_the_last_minute = [at for at in meta.look_ups if at > anyio.current_time() - 60]
        assert len(in_the_last_minute) <= CONTACTS


async def test_a_limit_of_the_app_that_a_look_up_meets_holds_back_sends_too() -> None:
    harness = Harness()
    meta = Meta(harness, error(4, retry_after="600"))
    async with harness.running(meta):
        await harness.connect()
        await harness.receive("hello")
        await anyio.sleep(5)
        fact = harness.queued("good morning")
        await harness.append(fact)
        await anyio.sleep(500)
        assert meta.sends == []
        await harness.until(
            fact.message_id, lambda message: message.delivery is not DeliveryState.PENDING, within_s=200
        )


async def test_a_rate_limited_send_pauses_its_channel() -> None:
    """X-6."""
    harness = Harness()
    meta = Meta(harness, None, error(613, retry_after="300"))
    async with harness.running(meta):
        await harness.contacts_write()
        await anyio.sleep(5)
        conversations = [harness.chat(number).conversation_id for number in range(CONTACTS)]
        await harness.append(*(harness.queued(f"to {each}", conversation_id=each) for each in conversations))
        await anyio.sleep(280)
        assert len(meta.sends) <= harness.source.spec.kinds[0].limits.parallel_max


def taken(number: int, **headers: object) -> Response:
    named = {name.replace("_", "-"): msgspec.json.encode(value).decode() for name, value in headers.items()}
    return Response(200, named, msgspec.json.encode({"recipient_id": "1", "message_id": f"m_{number}"}))


@pytest.mark.parametrize("header", ["x_business_use_case_usage", "x_page_usage", "x_app_usage"])
async def test_sends_slow_down_before_a_limit_is_hit(header: str) -> None:
    """At 80 percent, the channel or the app pauses for 1.2 s after each answer; calls in flight go on."""
    usage = {"call_count": 80, "total_time": 3, "total_cputime": 3}
    document = {"204918377001": [{"type": "messenger", **usage}]} if "business" in header else usage
    harness = Harness()
    meta = Meta(harness, None, taken(1, **{header: document}))
    async with harness.running(meta):
        await harness.connect()
        await harness.append(harness.chat(1).received("hello"))
        await anyio.sleep(5)
        conversation_id = harness.chat(1).conversation_id
        facts = [harness.queued(f"answer {number}", conversation_id=conversation_id) for number in range(10)]
        await harness.append(*facts)
        await harness.until(facts[-1].message_id, lambda message: message.delivery is DeliveryState.SENT, within_s=60)

        between = [later - earlier for earlier, later in zip(meta.sends, meta.sends[1:], strict=False)]
        assert len(meta.sends) == 10
        assert min(between) > 1.19


async def test_an_account_that_meta_restricts_is_left_alone_for_an_hour() -> None:
    harness = Harness()
    meta = Meta(harness, None, error(2022))
    async with harness.running(meta):
        await harness.contacts_write()
        await anyio.sleep(5)
        for number in range(CONTACTS):
            each = harness.chat(number).conversation_id
            await harness.append(harness.queued(f"to {each}", conversation_id=each, ttl_ms=86_400_000))
            await anyio.sleep(60)
        assert len(meta.sends) == 1


async def test_a_limit_of_one_contact_holds_back_no_other() -> None:
    """WhatsApp's pair limit: the number itself may send."""
    harness = ScriptedHarness(WIRES["whatsapp"])
    refusing = Refusing(harness, "+49 pair", error(131056))

    def connector() -> Connector:
        return Connector(harness.bus, harness.store, harness.projector, [harness.source], refusing, harness.credentials)

    async with harness.open(connector=connector):
        await harness.begin()
        limited = harness.queued("+49 pair")
        await harness.append(limited)
        await anyio.sleep(1)
        other = Chat(1, source="whatsapp", source_channel_id=harness.channel.source_channel_id)
        asked_at = anyio.current_time()
        answer = replace(other.queued("x"), content=raw({"text": {"body": "x"}}))
        await harness.append(other.received("hello"), answer)
        await harness.until(answer.message_id, lambda message: message.delivery is DeliveryState.SENT)
        assert anyio.current_time() - asked_at < 2
        waiting = await harness.store.message(limited.message_id)
        assert waiting is not None
        assert waiting.delivery is DeliveryState.PENDING


class Refusing:
    """Refuses the messages with a text, and takes the others."""

    def __init__(self, harness: ScriptedHarness, text: str, refusal: Response) -> None:
        self._provider = harness.provider
        self._text = text.encode()
        self._refusal = refusal

    async def __call__(self, method: str, url: str, **request: Any) -> Response:
        if self._text in (request.get("body") or b""):
            return self._refusal
        return await self._provider(method, url, **request)
