"""Credentials of every source are replaced under a stream of messages: none is lost or there twice, and answers go out
with the new ones. Two processes over one log: one is asked to connect, the other takes what arrives right after.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy.commands.channel_secrets import PREVIOUS_VALID_S
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied
from airy.sources.catalogue import SOURCES
from tests.kit.asgi import call
from tests.kit.in_process import InProcessAiry
from tests.kit.providers.base import Wire
from tests.kit.providers.google import GoogleWire, service_account
from tests.kit.providers.meta import FacebookWire, InstagramLoginWire, InstagramWire
from tests.kit.providers.rcs import RcsWire
from tests.kit.providers.telegram import BOT, TelegramWire
from tests.kit.providers.twilio import ACCOUNT_SID, TwilioWire
from tests.kit.providers.viber import ViberWire
from tests.kit.providers.whatsapp import WhatsAppWire
from tests.kit.scripted_provider import Act

OLD, NEW = "OldCredential0123456789", "NewCredential0123456789"
SETTLED_S = 5.0
DROPPED = 410  # of all answers but 2xx, the one after which Telegram gives up
ANSWER = {"canonical": {"type": "text", "text": "Yes, three left."}}


class Rotated:
    """An account before or after its `credential` was replaced. `mark` is in the headers or the address of a call."""

    def __init__(self, wire: Any, kind: str, mark: str) -> None:
        self.wire: Wire = wire
        self.kind = kind
        self.mark = mark


# --- by channel: what the connect brings


def _meta(wire: Any) -> Callable[[str], Rotated]:
    def made(credential: str) -> Rotated:
        built = wire()
        built.token, built.renewable = f"EAA{credential}", False
        return Rotated(built, built.kind, f"Bearer EAA{credential}")

    return made


def _twilio(kind: str) -> Callable[[str], Rotated]:
    def made(credential: str) -> Rotated:
        wire = TwilioWire()
        wire.section = replace(wire.section, account_sid="", auth_token=())
        wire.auth_token, wire.own_account = credential, True
        return Rotated(wire, kind, b64encode(f"{ACCOUNT_SID}:{credential}".encode()).decode())

    return made


def _telegram(credential: str) -> Rotated:
    wire = TelegramWire()
    wire.token = f"{BOT}:{credential}"
    wire.webhook_secret = f"before it is connected: {credential}"
    return Rotated(wire, "telegram", f"/bot{wire.token}/")


def _viber(credential: str) -> Rotated:
    wire = ViberWire()
    wire.token = credential
    return Rotated(wire, "viber", credential)


def _google(wire: Any, kind: str, signer: str) -> Callable[[str], Rotated]:
    def made(credential: str) -> Rotated:
        built = wire()
        built.section = type(built.section)(enabled=True)
        setattr(built, signer, credential)
        built.access_token = f"ya29.{credential}"
        account = {**msgspec.json.decode(service_account()), "private_key_id": credential}
        built.own = {signer: Secret(credential), "service_account": Secret(msgspec.json.encode(account).decode())}
        return Rotated(built, kind, f"Bearer ya29.{credential}")

    return made


BY_CHANNEL: dict[str, Callable[[str], Rotated]] = {
    "facebook": _meta(FacebookWire),
    "instagram": _meta(InstagramWire),
    "instagram by login": _meta(InstagramLoginWire),
    "whatsapp": _meta(WhatsAppWire),
    "twilio.sms": _twilio("twilio.sms"),
    "twilio.whatsapp": _twilio("twilio.whatsapp"),
    "telegram": _telegram,
    "viber": _viber,
    "google": _google(GoogleWire, "google", "partner_key"),
    "rcs": _google(RcsWire, "rcs", "client_token"),
}

# --- by section: what the configuration lists

SECRETS = {
    "facebook": (FacebookWire, "app_secret", "app_secret"),
    "instagram": (InstagramWire, "app_secret", "app_secret"),
    "instagram by login": (InstagramLoginWire, "app_secret", "instagram_app_secret"),
    "whatsapp": (WhatsAppWire, "app_secret", "app_secret"),
    "twilio": (TwilioWire, "auth_token", "auth_token"),
    "viber": (ViberWire, "token", "auth_token"),
    "google": (GoogleWire, "partner_key", "partner_key"),
    "rcs": (RcsWire, "client_token", "client_token"),
}
"""The secret of the wire, and the key of the section."""


class Talk:
    """A contact who writes numbered messages."""

    def __init__(self, one: InProcessAiry) -> None:
        self.one = one
        self.written: list[str] = []
        self._waiting: list[int] = []

    @property
    def kind(self) -> str:
        return self.one.provider.kind

    async def post(self, here: InProcessAiry, signer: Wire, number: int) -> int:
        webhook = signer.received(self.kind, number, f"message {number}", self.one.clock.now_ms())
        headers = [(name.decode(), value.decode()) for name, value in signer.signed(webhook)]
        headers.append(("content-type", webhook.content_type))
        return (await call(here.app, "POST", webhook.path, body=webhook.body, headers=headers)).status

    async def writes(self, here: InProcessAiry, signer: Wire) -> None:
        """Accepted at once."""
        self.written.append(f"message {len(self.written) + len(self._waiting)}")
        assert await self.post(here, signer, int(self.written[-1].split()[1])) == 200

    async def writes_early(self, here: InProcessAiry, signer: Wire) -> None:
        """A webhook that is accepted, or refused in the way after which the provider repeats it."""
        number = len(self.written) + len(self._waiting)
        status = await self.post(here, signer, number)
        if status == 200:
            self.written.append(f"message {number}")
            return
        assert status == signer.mismatch != DROPPED
        self._waiting.append(number)

    async def repeated(self, here: InProcessAiry, signer: Wire) -> None:
        for number in self._waiting:
            assert await self.post(here, signer, number) == 200
            self.written.append(f"message {number}")
        self._waiting.clear()

    async def conversation_id(self) -> str:
        (conversation,) = (await self.one.asked("/conversations.list"))["data"]
        return str(conversation["id"])

    async def said(self) -> list[str]:
        await anyio.sleep(SETTLED_S)
        body = {"conversation_id": await self.conversation_id(), "page_size": 50}
        found = (await self.one.asked("/messages.list", body))["data"]
        return [message["canonical"][0]["text"] for message in found if message["from_contact"]]

    async def check(self) -> None:
        assert not self._waiting
        assert Counter(await self.said()) == Counter(self.written)


async def answered_with(one: InProcessAiry, talk: Talk, mark: str, other: str) -> None:
    one.provider.requests.clear()
    await one.asked("/messages.send", {"conversation_id": await talk.conversation_id(), "message": ANSWER})
    await one.until(lambda: one.provider.delivered)
    (sent,) = (request for request in one.provider.requests if one.provider.wire.taken(request) is not None)
    used = " ".join([sent.url, *sent.headers.values()])
    assert mark in used
    assert other not in used


@pytest.mark.parametrize("made", BY_CHANNEL.values(), ids=BY_CHANNEL)
async def test_a_channel_is_connected_again_with_new_credentials(made: Callable[[str], Rotated]) -> None:
    old, new = made(OLD), made(NEW)
    one = InProcessAiry(wire=old.wire)
    one.provider.kind = old.kind
    two = InProcessAiry(wire=old.wire, beside=one, seed=1)
    async with one.open(), two.open():
        talk = Talk(one)
        channel_id = (await one.connect_form())["id"]
        await talk.writes(two, old.wire)

        one.provider.wire = new.wire  # the provider signs with the new one, and still sends what it signed before
        await talk.writes_early(two, new.wire)
        await talk.writes(two, old.wire)
        assert (await one.connect_form())["id"] == channel_id
        await talk.writes(two, new.wire)
        await talk.writes(two, old.wire)
        await talk.repeated(two, new.wire)
        await one.connect_form()  # repeated: the rotation goes on
        await talk.writes(two, old.wire)
        await talk.writes(one, new.wire)
        await talk.check()
        await answered_with(one, talk, new.mark, old.mark)

        one.clock.set(PREVIOUS_VALID_S * 1000)
        await talk.writes(two, new.wire)
        if made(OLD).wire.kind in {"telegram", "viber", "twilio.sms", "google", "rcs"}:
            assert await talk.post(two, old.wire, 99) == old.wire.mismatch
        await talk.check()


@pytest.mark.parametrize("name", ["telegram", "viber", "twilio.sms", "google", "rcs"])
async def test_a_disconnect_forgets_both_secrets(name: str) -> None:
    old, new = BY_CHANNEL[name](OLD), BY_CHANNEL[name](NEW)
    one = InProcessAiry(wire=old.wire)
    async with one.open():
        talk = Talk(one)
        channel_id = (await one.connect_form())["id"]
        one.provider.wire = new.wire
        await one.connect_form()
        await talk.writes(one, old.wire)
        await one.asked(f"/channels.{name}.disconnect", {"channel_id": channel_id})
        channel = await one.store.channel(channel_id)
        assert channel is not None
        assert (channel.token, channel.secrets, channel.previous_secret) == (None, {}, None)
        await one.connect_form()
        assert await talk.post(one, old.wire, 99) == old.wire.mismatch
        await talk.writes(one, new.wire)
        await talk.check()


@pytest.mark.parametrize("name", ["telegram", "viber", "twilio.sms"])
async def test_a_connect_that_fails_after_the_webhook_was_set_loses_nothing(name: str) -> None:
    """The provider uses the new credentials, its answer was lost, and the channel still has the old ones."""
    old, new = BY_CHANNEL[name](OLD), BY_CHANNEL[name](NEW)
    if isinstance(old.wire, TwilioWire):
        old.wire.webhook = new.wire.webhook = ""  # type: ignore[attr-defined]
    one = InProcessAiry(wire=old.wire)
    async with one.open():
        talk = Talk(one)
        await one.connect_form()
        await talk.writes(one, old.wire)
        one.provider.wire = new.wire
        one.provider.script.extend([Act.OK, Act.TAKEN_SILENT])
        form = msgspec.to_builtins(new.wire.form(name), enc_hook=lambda secret: secret.reveal())
        assert (await one.post(f"/channels.{name}.connect", form)).status == 503
        await talk.writes_early(one, new.wire)
        await talk.writes(one, old.wire)
        await anyio.sleep(20.0)  # longer than the back-off of connects
        await one.connect_form()
        await talk.repeated(one, new.wire)
        await talk.writes(one, old.wire)
        await talk.check()


@pytest.mark.parametrize("name", SECRETS)
async def test_a_secret_of_the_configuration_is_replaced_process_by_process(name: str) -> None:
    """Both are listed while the provider changes from the old one to the new one; then the new one alone."""
    kind, secret, key = SECRETS[name]

    def wire(signs: str, *listed: str) -> Any:
        built: Any = kind()
        setattr(built, secret, signs)
        built.section = replace(built.section, **{key: tuple(map(Secret, listed))})
        if isinstance(built, ViberWire):
            built.form = lambda _: built.spec.kinds[0].connect()
        return built

    old, new = wire(OLD, OLD), wire(NEW, NEW)
    before = InProcessAiry(wire=old)
    during = InProcessAiry(wire=wire(OLD, NEW, OLD), beside=before, seed=1)
    talk = Talk(before)
    async with before.open(), during.open():
        await before.connect_form()
        await talk.writes(before, old)
        await talk.writes(during, old)
        await talk.writes_early(before, new)
        await talk.writes(during, new)
        await talk.repeated(during, new)
        await talk.writes(during, old)
        await talk.check()

    webhook = new.received(new.kind, 1, "message", 0)
    after, accounts = new.source(), ConnectedChannels([new.channel(webhook.account)])
    assert isinstance(after.verify(new.request(webhook), accounts), Accepted)
    refused = after.verify(new.request(webhook, headers=old.signed(webhook)), accounts)
    assert isinstance(refused, Denied)
    assert refused.status == new.mismatch


async def test_the_token_of_a_custom_source_is_rotated() -> None:
    """`tests/sources/custom/test_send.py` shows that answers are signed with the new token and the previous one."""
    wire = ViberWire()
    wire.section = next(spec for spec in SOURCES if spec.name == "custom").section(enabled=True)
    one = InProcessAiry(wire=wire)
    async with one.open():
        tokens = [(await one.asked("/sources.create", {"source_id": "crm"}))["token"]]
        channel = {"source_channel_id": "desk", "name": "Desk"}
        await one.asked("/sources.channels.create", channel, authorization=f"Bearer {tokens[0]}")
        tokens.append((await one.asked("/sources.rotate-token", {"source_id": "crm"}))["token"])
        for number, token in enumerate([*tokens, *tokens]):
            message = {
                "source_message_id": f"m{number}",
                "source_conversation_id": "c",
                "source_channel_id": "desk",
                "source_sender_id": "customer",
                "content": {"text": f"message {number}"},
                "from_contact": True,
                "sent_at": "2025-01-01T00:00:00.000Z",
            }
            await one.asked("/sources.webhook", {"messages": [message]}, authorization=f"Bearer {token}")
        assert sorted(await Talk(one).said()) == [f"message {number}" for number in range(4)]


def test_no_source_is_left_out() -> None:
    """A chat plugin has no credentials of a provider; its visitors' tokens are signed with the sealing keys."""
    rotated = {name.split(" ")[0].split(".")[0] for name in (*BY_CHANNEL, *SECRETS)}
    assert {spec.name for spec in SOURCES} == rotated | {"custom", "chatplugin"}
