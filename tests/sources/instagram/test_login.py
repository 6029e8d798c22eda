"""Accounts of Instagram Login: connected without a page, called at their own host, with tokens that are renewed."""

from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.clock import LoopClock
from airy.errors import Refused
from airy.model import channel_health, metadata
from airy.model.render import timestamp
from airy.secret import Secret
from airy.sources.api import Accepted, Call, Checked, Connected, Installation, Target
from airy.sources.instagram.spec import ConnectAccount
from airy.sources.meta.signature import signature
from tests.kit.contracts.source import RECEIVED_MS, conversation, outbound
from tests.kit.in_process import InProcessAiry
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.meta import (
    ACCOUNT,
    APP_SECRET,
    LOGIN_SECRET,
    LOGIN_TOKEN,
    PAGE,
    RENEWED_TOKEN,
    TOKEN,
    InstagramLoginWire,
)
from tests.kit.scripted_provider import ScriptedProvider

DAY_MS = 86_400_000
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL)
RENEWED = Checked(credentials={"token": Secret(RENEWED_TOKEN)}, credentials_valid_s=60 * 86_400)


@pytest.fixture
def wire() -> InstagramLoginWire:
    return InstagramLoginWire()


async def connect(wire: InstagramLoginWire, **given: Any) -> tuple[Connected, list[str]]:
    """And the paths that were called."""
    client, source = ScriptedProvider(wire, LoopClock()), wire.source()
    form = ConnectAccount(**({"auth": "instagram_login", "token": Secret(LOGIN_TOKEN)} | given))
    done = await source.connect(client, "instagram", form, HERE)
    return done, [f"{request.method} {request.path}" for request in client.requests]


@pytest.mark.parametrize("short_lived", [True, False])
async def test_an_account_is_connected_with_its_own_token(wire: InstagramLoginWire, short_lived: bool) -> None:
    wire.short_lived = short_lived
    wire.fields.clear()

    done, calls = await connect(wire)

    assert replace(done, instructions="", settings=()) == Connected(
        account=ACCOUNT,
        name="Corner Bakery",
        image_url="https://cdn.example.net/b.jpg",
        metadata={"auth": "instagram_login", "account_id": ACCOUNT},
        credentials={"token": Secret(RENEWED_TOKEN)},
        credentials_valid_s=60 * 86_400,
    )
    assert calls == [
        "GET /v26.0/me",
        "GET /access_token",
        *([] if short_lived else ["GET /refresh_access_token"]),
        "POST /v26.0/me/subscribed_apps",
        "GET /v26.0/me/subscribed_apps",
    ]
    assert {"messages", "messaging_seen", "message_edit"} <= wire.fields


async def test_a_lasting_token_that_is_not_a_day_old_is_kept_until_it_can_be_renewed(wire: InstagramLoginWire) -> None:
    wire.renewable = False
    done, _ = await connect(wire)
    assert (done.credentials, done.credentials_valid_s) == ({"token": Secret(LOGIN_TOKEN)}, None)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"token": None}, "token"),
        ({"account_id": "17000"}, "account_id"),
        ({"auth": "facebook_page"}, "page_id"),
        ({"auth": "facebook_page", "page_id": PAGE}, "account_id"),
        ({"auth": "facebook_page", "page_id": PAGE, "account_id": ACCOUNT}, "page_token"),
    ],
)
async def test_what_a_way_to_connect_needs_is_named(
    wire: InstagramLoginWire, given: dict[str, object], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        await connect(wire, **given)
    assert refused.value.field == field


async def test_messages_and_signals_go_to_instagrams_own_host(wire: InstagramLoginWire) -> None:
    source: Any = wire.source()
    channel = wire.channel(ACCOUNT)
    at_login = Target(channel=channel, conversation=conversation(), credentials={"token": Secret(LOGIN_TOKEN)})
    of_page = replace(at_login, channel=WIRES["instagram"].channel(ACCOUNT), credentials={"token": Secret(TOKEN)})
    for target, url, proves in (
        (at_login, "https://graph.instagram.com/v26.0/me/messages", False),
        (of_page, "https://graph.facebook.com/v26.0/me/messages", True),
    ):
        message: tuple[Call, ...] = source.encode(outbound({"text": "x"}), target, RECEIVED_MS)
        for call in (*message, *source.typing(target, None), *source.mark_read(target, "m")):
            assert call.url.reveal() == url
            assert call.headers["authorization"].reveal() == f"Bearer {target.credentials['token'].reveal()}"
            assert ("appsecret_proof" in msgspec.json.decode(call.body or b"")) is proves


@pytest.mark.parametrize("secret", [LOGIN_SECRET, APP_SECRET, "old-secret"])
def test_a_webhook_may_be_signed_with_the_secret_of_the_app_or_of_its_instagram_product(
    wire: InstagramLoginWire, secret: str
) -> None:
    webhook = wire.received("instagram", 1, "hello", RECEIVED_MS)
    headers = [(b"x-hub-signature-256", b"sha256=" + signature(secret, webhook.body))]
    assert isinstance(wire.source().verify(wire.request(webhook, headers=headers), wire.connected(ACCOUNT)), Accepted)


# --- renewal


@pytest.mark.parametrize(
    ("days_left", "renewable", "wanted"),
    [
        (60, True, Checked()),
        (10.1, True, Checked()),
        (10, True, RENEWED),
        (0.1, True, RENEWED),
        (None, True, RENEWED),
        (None, False, Checked()),
        (8, False, Checked()),
        (5, False, "is not renewed"),
        (0, True, "the token expired at"),
        (-1, False, "connect the channel again"),
    ],
)
async def test_a_token_is_renewed_ten_days_before_it_expires(
    wire: InstagramLoginWire, days_left: float | None, renewable: bool, wanted: Checked | str
) -> None:
    wire.renewable = renewable
    source: Any = wire.source()
    known = dict(wire.channel(ACCOUNT).metadata)
    del known[channel_health.EXPIRE_AT]
    if days_left is not None:
        known[channel_health.EXPIRE_AT] = metadata.value(timestamp(RECEIVED_MS + round(days_left * DAY_MS)))
    channel = replace(wire.channel(ACCOUNT), metadata=known)
    target = Target(channel=channel, credentials={"token": Secret(LOGIN_TOKEN)})

    checked = await source.check(ScriptedProvider(wire, LoopClock()), target, RECEIVED_MS)

    if isinstance(wanted, str):
        assert wanted in checked.problem
        assert LOGIN_TOKEN not in checked.problem
    else:
        assert checked == wanted


async def test_an_account_whose_webhooks_have_ended_is_subscribed_again(wire: InstagramLoginWire) -> None:
    wire.fields.clear()
    source: Any = wire.source()
    target = Target(channel=wire.channel(ACCOUNT), credentials={"token": Secret(LOGIN_TOKEN)})
    checked = await source.check(ScriptedProvider(wire, LoopClock()), target, RECEIVED_MS)
    assert "Instagram had ended the webhooks" in checked.repaired
    assert "messages" in wire.fields


# --- through all layers


async def answered(airy: InProcessAiry, text: str) -> dict[str, Any]:
    """The contact writes, an agent answers; the answer a few seconds later."""
    wire = airy.provider.wire
    await airy.deliver(wire.received("instagram", 1, "hello", airy.clock.now_ms()))
    await anyio.sleep(5)
    (found,) = (await airy.asked("/conversations.list", {}))["data"]
    sent = await airy.asked("/messages.send", {"conversation_id": found["id"], "message": {"text": text}})
    await anyio.sleep(5)
    messages = (await airy.asked("/messages.list", {"conversation_id": found["id"]}))["data"]
    return next(message for message in messages if message["id"] == sent["id"])


async def test_a_token_near_its_end_is_replaced_and_the_new_one_is_used(wire: InstagramLoginWire) -> None:
    wire.renewable, wire.valid_s = False, None
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        assert "credentials_expire_at" not in channel["metadata"]
        wire.renewable, wire.valid_s = True, 60 * 86_400

        await anyio.sleep(80)

        found = await airy.asked("/channels.info", {"channel_id": channel["id"]})
        at_ms = airy.clock.now_ms() + 60 * DAY_MS
        assert timestamp(at_ms - 80_000) < found["metadata"]["credentials_expire_at"] <= timestamp(at_ms)
        assert airy.line("channel.credentials_renewed") is not None
        assert (await answered(airy, "Yes."))["delivery_state"] == "delivered"
        assert airy.provider.requests[-1].headers["authorization"] == f"Bearer {RENEWED_TOKEN}"
        logged = b"".join(record.value or b"" for record in await airy.records(topics.CHANNELS))
        assert RENEWED_TOKEN.encode() not in logged


async def test_an_expired_token_stops_the_lane_and_shows_in_the_channel(wire: InstagramLoginWire) -> None:
    wire.valid_s = 10
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        channel = await airy.connect_form()
        wire.renewable = False
        await anyio.sleep(80)
        health = (await airy.asked("/channels.info", {"channel_id": channel["id"]}))["metadata"]["health"]
        assert health["state"] == "failing"
        assert "connect the channel again" in health["reason"]

        calls = len(airy.provider.attempts)
        failed = await answered(airy, "Yes.")
        assert failed["delivery_state"] == "failed"
        assert "credentials expired at" in failed["metadata"]["error"]
        assert len(airy.provider.attempts) == calls
