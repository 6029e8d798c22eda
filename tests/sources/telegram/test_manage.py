"""Connecting and leaving bots, and getting their files."""

from typing import Any

import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused
from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Connected, Installation, Target
from airy.sources.telegram.manage import UPDATES
from airy.sources.telegram.spec import ConnectBot
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.telegram import BOT, CHANNEL, TOKEN
from tests.kit.scripted_provider import ScriptedProvider

WIRE = WIRES["telegram"]
SOURCE: Any = WIRE.source()
HERE = Installation(derived_secret=lambda _: Secret("fresh_secret"), public_url=PUBLIC_URL)
TARGET = Target(channel=WIRE.channel(BOT), credentials={"token": Secret(TOKEN)})


def provider() -> ScriptedProvider:
    return ScriptedProvider(type(WIRE)(), LoopClock())


async def connect(client: Any, token: str = TOKEN, here: Installation = HERE) -> Connected:
    return await SOURCE.connect(client, "telegram", ConnectBot(bot_token=Secret(token)), here)


async def test_a_bot_posts_to_its_own_address_with_a_fresh_secret() -> None:
    client = provider()
    done = await connect(client, f" {TOKEN}\n")
    assert done == Connected(
        account=BOT,
        name="Bakery",
        metadata={"bot_id": BOT, "username": "bake"},
        credentials={"token": Secret(TOKEN), "webhook_secret": Secret("fresh_secret")},
    )
    assert client.requests[-1].fields == {
        "url": f"{PUBLIC_URL}/telegram/{CHANNEL}",
        "secret_token": "fresh_secret",
        "allowed_updates": list(UPDATES),
    }


@pytest.mark.parametrize(
    "token", ["", "no-token", "123:short", "123:with space in it", "12/3:abcdefghijk", f"{TOKEN}/x"]
)
async def test_what_is_no_token_is_refused_before_a_call(token: str) -> None:
    client = provider()
    with pytest.raises(Refused) as refused:
        await connect(client, token)
    assert refused.value.field == "bot_token"
    assert client.requests == []


@pytest.mark.parametrize("url", ["", "http://inbox.example.org"])
async def test_without_a_public_https_address_nothing_is_connected(url: str) -> None:
    with pytest.raises(Refused, match="https"):
        await connect(provider(), here=replace(HERE, public_url=url))


async def test_a_token_that_is_another_bots_is_refused() -> None:
    async def another(*_: object, **__: object) -> Response:
        return Response(200, {}, b'{"ok":true,"result":{"id":999}}')

    with pytest.raises(Refused, match="another bot id"):
        await connect(another)


async def test_leaving_removes_the_webhook() -> None:
    client = provider()
    assert await SOURCE.disconnect(client, TARGET, ()) is None
    assert [request.path.rpartition("/")[2] for request in client.requests] == ["deleteWebhook"]
    assert await SOURCE.disconnect(client, replace(TARGET, credentials={}), ()) is None


async def test_a_file_is_downloaded_from_an_address_nothing_prints() -> None:
    call = await SOURCE.media(provider(), TARGET, "file-1")
    assert call.url.reveal() == f"https://api.telegram.org/file/bot{TOKEN}/photos/file_1.jpg"
    assert TOKEN not in f"{call} {call.url}"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../b", "", "https://x.example/y", "a?b"])
async def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    async def answers(*_: object, **__: object) -> Response:
        return Response(200, {}, b'{"ok":true,"result":{"file_path":"%s"}}' % path.encode())

    with pytest.raises(Refused, match="names no file"):
        await SOURCE.media(answers, TARGET, "file-1")


# --- check

NOW_MS = 1_735_700_000_000
URL = f"{PUBLIC_URL}/telegram/{CHANNEL}"


@pytest.mark.parametrize(
    ("webhook", "outcome"),
    [
        ({"url": URL, "allowed_updates": list(UPDATES)}, "fine"),
        ({"url": URL}, "fine"),
        ({"url": URL, "pending_update_count": 3}, "fine"),
        ({"url": URL, "last_error_message": "Connection refused", "last_error_date": NOW_MS // 1000}, "fine"),
        ({"url": ""}, "repaired"),
        ({}, "repaired"),
        ({"url": URL, "allowed_updates": ["message"]}, "repaired"),
        ({"url": "https://other.example.org/bot"}, "posted to another address"),
        (
            {
                "url": URL,
                "pending_update_count": 3,
                "last_error_message": "Connection refused",
                "last_error_date": NOW_MS // 1000 - 60,
            },
            "telegram cannot post 3 updates here: Connection refused",
        ),
        (
            {
                "url": URL,
                "pending_update_count": 3,
                "last_error_message": "Connection refused",
                "last_error_date": NOW_MS // 1000 - 7_200,
            },
            "fine",
        ),
    ],
)
async def test_a_webhook_that_was_removed_is_set_again_and_one_of_another_installation_is_left_alone(
    webhook: dict[str, object], outcome: str
) -> None:
    client = provider()
    client.wire.webhook = webhook  # type: ignore[attr-defined]
    target = replace(TARGET, credentials={"token": Secret(TOKEN), "webhook_secret": Secret("known_secret")})

    checked = await SOURCE.check(client, target, NOW_MS)

    methods = [request.path.rpartition("/")[2] for request in client.requests]
    assert methods == ["getWebhookInfo", *(["setWebhook"] if outcome == "repaired" else [])]
    assert bool(checked.repaired) is (outcome == "repaired")
    assert checked.problem == "" if outcome in {"fine", "repaired"} else outcome in checked.problem
    if outcome == "repaired":
        assert client.requests[-1].fields == {
            "url": URL,
            "secret_token": "known_secret",
            "allowed_updates": list(UPDATES),
        }
