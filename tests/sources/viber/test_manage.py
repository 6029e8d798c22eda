"""Connecting and leaving bots."""

from typing import Any

import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Checked, Connected, Installation, Target
from airy.sources.viber.manage import EVENTS
from airy.sources.viber.spec import ConnectViber, ViberSection
from tests.kit import api as harness
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.viber import BOT, CHANNEL, TOKEN
from tests.kit.scripted_provider import ScriptedProvider

WIRE = WIRES["viber"]
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL)
TARGET = Target(channel=WIRE.channel(BOT), credentials={"token": Secret(TOKEN)})


def provider() -> ScriptedProvider:
    return ScriptedProvider(type(WIRE)(), LoopClock())


def source(**section: Any) -> Any:
    return WIRE.spec.load()(ViberSection(**section), PUBLIC_URL)


async def connect(client: Any, here: Installation = HERE, *, tokens: tuple[Secret, ...] = (), **form: Any) -> Connected:
    return await source(auth_token=tokens).connect(client, "viber", ConnectViber(**form), here)


async def test_a_bot_posts_its_events_to_an_address_of_its_own() -> None:
    client = provider()
    done = await connect(client, auth_token=Secret(f" {TOKEN}\n"), welcome_message="Hi")
    assert done == Connected(
        account=BOT,
        name="Bakery",
        image_url="https://img.example.org/bakery.png",
        metadata={"uri": "bakery", "welcome_message": "Hi"},
        credentials={"token": Secret(TOKEN)},
    )
    info, webhook = client.requests
    assert info.headers["x-viber-auth-token"] == TOKEN
    assert info.path == "/pa/get_account_info"
    assert webhook.path == "/pa/set_webhook"
    assert webhook.fields == {
        "url": f"{PUBLIC_URL}/viber/{CHANNEL}",
        "event_types": list(EVENTS),
        "send_name": True,
        "send_photo": True,
    }


async def test_the_configured_bot_is_connected_without_a_form_and_keeps_no_token() -> None:
    done = await connect(provider(), tokens=(Secret(TOKEN), Secret("old")))
    assert (done.account, done.credentials) == (BOT, {})


@pytest.mark.parametrize("token", [None, "", " ", "with\nline", "töken"])
async def test_what_is_no_token_is_refused_before_a_call(token: str | None) -> None:
    client = provider()
    with pytest.raises(Refused) as refused:
        await connect(client, auth_token=None if token is None else Secret(token))
    assert refused.value.field == "auth_token"
    assert client.requests == []


@pytest.mark.parametrize("url", ["", "http://inbox.example.org"])
async def test_without_a_public_https_address_nothing_is_connected(url: str) -> None:
    with pytest.raises(Refused, match="https"):
        await connect(provider(), replace(HERE, public_url=url), auth_token=Secret(TOKEN))


async def test_a_simulated_viber_takes_an_address_of_http() -> None:
    viber = source(api_url="https://chatapi.viber.com:443/pa")  # not the address of Viber itself
    done = await viber.connect(
        provider(), "viber", ConnectViber(auth_token=Secret(TOKEN)), replace(HERE, public_url="http://127.0.0.1:8080")
    )
    assert done.account == BOT


@pytest.mark.parametrize(
    ("body", "wanted", "said"),
    [
        (b'{"status":1,"status_message":"invalidUrl"}', Refused, "viber: invalidUrl"),
        (b'{"status":2,"status_message":"invalidAuthToken"}', Refused, "viber: invalidAuthToken"),
        (b'{"status":12,"status_message":"tooManyRequests"}', Unavailable, "viber: tooManyRequests"),
        (b'{"status":99}', Unavailable, "viber: status 99"),
        (b'{"status":0,"status_message":"ok"}', Unavailable, "named no account"),
        (b"<html>", Unavailable, "viber answered 200"),
    ],
)
async def test_what_viber_answers_decides_who_has_to_act(body: bytes, wanted: type[Exception], said: str) -> None:
    async def answers(*_: object, **__: object) -> Response:
        return Response(200, {}, body)

    with pytest.raises(wanted, match=said):
        await connect(answers, auth_token=Secret(TOKEN))


@pytest.mark.parametrize("url", [f"{PUBLIC_URL}/viber/{CHANNEL}", f"{PUBLIC_URL}/viber", None])
async def test_a_bot_that_posts_here_works(url: str | None) -> None:
    wire = type(WIRE)()
    wire.webhook = url
    assert await source().check(ScriptedProvider(wire, LoopClock()), TARGET, 0) == Checked()


async def test_a_webhook_that_was_removed_is_set_again() -> None:
    wire = type(WIRE)()
    wire.webhook = ""
    checked = await source().check(ScriptedProvider(wire, LoopClock()), TARGET, 0)
    assert "was removed" in checked.repaired
    assert wire.webhook == f"{PUBLIC_URL}/viber/{CHANNEL}"


async def test_a_webhook_of_another_program_is_left_to_the_operator() -> None:
    wire = type(WIRE)()
    wire.webhook = "https://other.example.org/hook?secret=s"
    checked = await source().check(ScriptedProvider(wire, LoopClock()), TARGET, 0)
    assert checked.problem.startswith("other.example.org has the bot's webhook now")
    assert wire.webhook.startswith("https://other")


async def test_a_token_of_another_bot_is_a_problem() -> None:
    other = replace(TARGET, channel=WIRE.channel("pa:2"))
    assert "another bot's" in (await source().check(provider(), other, 0)).problem


async def test_leaving_removes_the_webhook() -> None:
    client = provider()
    assert await source().disconnect(client, TARGET, ()) is None
    assert [(request.path, request.fields) for request in client.requests] == [("/pa/set_webhook", {"url": ""})]
    assert await source().disconnect(client, replace(TARGET, credentials={}), ()) is None


async def test_h9_the_configured_bot_is_connected_without_a_body_under_its_own_name() -> None:
    """VI-3."""
    client = provider()
    configured = source(auth_token=(Secret(TOKEN),))
    async with harness.api_harness(connectable={"viber": configured}, client=client) as api:
        channel = await api.call("/channels.viber.connect")
        assert (channel["id"], channel["source"], channel["source_channel_id"]) == (CHANNEL, "viber", BOT)
        assert channel["metadata"]["name"] == "Bakery"
        assert client.requests[-1].fields["url"] == f"{harness.PUBLIC_URL}/viber/{CHANNEL}"

        await api.call("/channels.viber.disconnect", {"channel_id": CHANNEL}, 204)
        assert client.requests[-1].fields == {"url": ""}
        assert (await api.call("/channels.list"))["data"] == []
