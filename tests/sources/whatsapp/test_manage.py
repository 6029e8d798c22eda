"""Connecting numbers, leaving them, and where their token may go."""

from typing import Any

import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused
from airy.http_client import Response
from airy.secret import Secret
from airy.sources.api import Checked, Connected, Installation, Target
from airy.sources.whatsapp.spec import ConnectCloudNumber
from tests.kit.builders import raw
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL, Request, answer
from tests.kit.providers.whatsapp import APP_ID, NUMBER_ID, TOKEN, WABA, WhatsAppWire
from tests.kit.scripted_provider import Act, ScriptedProvider

SOURCE: Any = WIRES["whatsapp"].source()
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL)


class Answers(WhatsAppWire):
    """Answers of its own, by the last part of the path."""

    def __init__(self, **documents: dict[str, object]) -> None:
        super().__init__()
        self.documents = documents

    def managed(self, request: Request) -> Response:
        found = self.documents.get(request.path.rpartition("/")[2])
        return super().managed(request) if found is None else answer(200, found)


async def connect(client: ScriptedProvider, here: Installation = HERE, **form: Any) -> Connected:
    given = {"phone_number_id": NUMBER_ID, "user_token": Secret(TOKEN), "name": "Corner Bakery"} | form
    done: Connected = await SOURCE.connect(client, "whatsapp", ConnectCloudNumber(**given), here)
    return done


def provider(*script: Act, **documents: dict[str, object]) -> ScriptedProvider:
    client = ScriptedProvider(Answers(**documents), LoopClock())
    client.script.extend(script)
    return client


def paths(client: ScriptedProvider) -> list[tuple[str, str]]:
    return [(request.method, request.path.removeprefix("/v26.0/")) for request in client.requests]


async def test_wa_4_h8_a_number_is_connected_with_its_account_subscribed() -> None:
    client = provider()
    done = await connect(client)
    assert (done.account, done.name, done.image_url) == (NUMBER_ID, "Corner Bakery", None)
    assert done.metadata == {"phone_number": "+49 30 12345678", "waba_id": WABA}
    assert done.credentials == {"token": Secret(TOKEN)}
    assert paths(client) == [
        ("GET", "debug_token"),
        ("GET", NUMBER_ID),
        ("GET", f"{WABA}/phone_numbers"),
        ("POST", f"{WABA}/subscribed_apps"),
        ("GET", f"{WABA}/subscribed_apps"),
    ]
    assert client.requests[0].headers["authorization"] == f"Bearer {APP_ID}|app-secret"
    assert done.instructions.startswith("Once for the app")
    settings = {setting.name: setting.value.reveal() for setting in done.settings}
    assert settings["webhook_url"] == f"{PUBLIC_URL}/whatsapp"


async def test_a_persons_token_is_exchanged_for_a_long_lived_one() -> None:
    known = {"data": {"is_valid": True, "type": "USER"}}
    client = provider(debug_token=known, access_token={"access_token": "EAALongLivedTokenOfAPerson"})
    done = await connect(client, waba_id=WABA)
    assert done.credentials["token"].reveal() == "EAALongLivedTokenOfAPerson"
    assert client.requests[-1].headers["authorization"] == "Bearer EAALongLivedTokenOfAPerson"


async def test_a_token_that_is_not_valid_any_more_is_refused() -> None:
    with pytest.raises(Refused, match="does not accept the token") as refused:
        await connect(provider(debug_token={"data": {"is_valid": False}}))
    assert refused.value.field == "user_token"


async def test_an_account_that_is_not_found_or_not_subscribed_is_left_to_the_operator() -> None:
    unknown = {"data": {"is_valid": True, "type": "SYSTEM_USER"}}
    assert "POST /<account id>/subscribed_apps" in (await connect(provider(debug_token=unknown))).instructions
    other = {"success": True, "data": [{"whatsapp_business_api_data": {"id": "1"}}]}
    assert "POST /<account id>/subscribed_apps" in (await connect(provider(subscribed_apps=other))).instructions


async def test_a_number_is_registered_with_a_pin() -> None:
    client = provider()
    await connect(client, pin=Secret("123456"))
    assert client.requests[-1].path.endswith(f"/{NUMBER_ID}/register")
    assert client.requests[-1].fields["pin"] == "123456"


@pytest.mark.parametrize(
    ("form", "field"), [({"phone_number_id": "../me"}, "phone_number_id"), ({"waba_id": "a/b"}, "waba_id")]
)
async def test_ids_are_digits(form: dict[str, str], field: str) -> None:
    with pytest.raises(Refused) as refused:
        await connect(provider(), **form)
    assert refused.value.field == field


def target(**metadata: str) -> Target:
    channel = WIRES["whatsapp"].channel(NUMBER_ID)
    return Target(
        channel=replace(channel, metadata={name: raw(text) for name, text in metadata.items()}),
        credentials={"token": Secret(TOKEN)},
    )


async def test_the_last_number_of_an_account_ends_its_subscription() -> None:
    client = provider()
    assert await SOURCE.disconnect(client, target(waba_id=WABA), [target(waba_id=WABA).channel]) is None
    assert client.requests == []
    assert await SOURCE.disconnect(client, target(waba_id=WABA), [target(waba_id="1").channel]) is None
    assert paths(client) == [("DELETE", f"{WABA}/subscribed_apps")]


async def test_an_ended_subscription_is_renewed_and_reported() -> None:
    ended = {"success": True, "data": []}

    class Renewed(Answers):
        def managed(self, request: Request) -> Response:
            if request.method == "POST":
                self.documents = {}
            return super().managed(request)

    client = ScriptedProvider(Renewed(subscribed_apps=ended), LoopClock())
    checked = await SOURCE.check(client, target(waba_id=WABA), 0)
    assert "not subscribed" in checked.repaired
    assert ("POST", f"{WABA}/subscribed_apps") in paths(client)
    assert (await SOURCE.check(provider(subscribed_apps=ended), target(waba_id=WABA), 0)).problem
    assert await SOURCE.check(provider(subscribed_apps=ended), target(), 0) == Checked()  # not found when it connected


async def test_a_media_id_leads_to_a_file_that_needs_the_token() -> None:
    client = provider()
    call = await SOURCE.media(client, target(), "646000000000001")
    assert client.requests[-1].fields["phone_number_id"] == NUMBER_ID
    assert call.url.reveal() == "https://lookaside.fbsbx.com/whatsapp_business/1"
    assert call.headers["authorization"].reveal() == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", ["https://evil.example/1", "http://lookaside.fbsbx.com/1", "https://fbsbx.com.evil.example/1", "file:///x"]
)
async def test_the_token_goes_to_meta_alone(url: str) -> None:
    with pytest.raises(Refused, match=r"not one of WhatsApp's|not an id"):
        await SOURCE.media(provider(**{"646": {"url": url}}), target(), "646")
    with pytest.raises(Refused, match=r"not one of WhatsApp's|not an id"):
        await SOURCE.media(provider(), target(), url)
