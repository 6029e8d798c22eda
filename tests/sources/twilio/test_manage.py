"""Connecting and leaving numbers, and whose media addresses get our credentials."""

from typing import Any

import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused
from airy.secret import Secret
from airy.sources.api import Checked, Connected, Installation, Target
from airy.sources.twilio.source import Twilio
from airy.sources.twilio.spec import RETRIES, ConnectNumber, TwilioSection
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.twilio import ACCOUNT_SID, NUMBER, WEBHOOK, TwilioWire
from tests.kit.scripted_provider import ScriptedProvider

WIRE = WIRES["twilio"]
SOURCE: Any = WIRE.source()
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL)


def provider(**state: str) -> ScriptedProvider:
    wire = TwilioWire()
    for name, value in state.items():
        setattr(wire, name, value)
    return ScriptedProvider(wire, LoopClock())


async def connect(
    client: ScriptedProvider, kind: str = "twilio.sms", *, source: Any = SOURCE, here: Installation = HERE, **form: Any
) -> Connected:
    return await source.connect(
        client, kind, ConnectNumber(**({"phone_number": NUMBER, "name": "Order hotline"} | form)), here
    )


async def test_a_number_of_the_account_is_told_where_its_messages_go() -> None:
    """H10."""
    client = provider()
    done = await connect(client, phone_number=" +49 30 901820 ", name="Order hotline")
    assert done == Connected(account=NUMBER, name="Order hotline", metadata={"phone_number": NUMBER})
    assert client.requests[-1].path == f"/2010-04-01/Accounts/{ACCOUNT_SID}/IncomingPhoneNumbers/PN1.json"
    assert client.requests[-1].fields == {"SmsUrl": f"{PUBLIC_URL}/twilio{RETRIES}", "SmsMethod": "POST"}


async def test_a_number_that_is_hosted_elsewhere_is_set_up_by_hand() -> None:
    done = await connect(provider(), phone_number="+15550001")
    assert "HTTP POST" in done.instructions
    assert [(setting.name, setting.value.reveal()) for setting in done.settings] == [
        ("webhook_url", f"{PUBLIC_URL}/twilio{RETRIES}")
    ]


async def test_a_whatsapp_sender_has_its_prefix_once() -> None:
    for given in (NUMBER, f"whatsapp:{NUMBER}"):
        done = await connect(provider(), "twilio.whatsapp", phone_number=given)
        assert done.account == f"whatsapp:{NUMBER}"


async def test_an_account_of_the_channels_own_is_stored_with_it() -> None:
    client = provider()
    done = await connect(client, account_sid="AC2", auth_token=Secret("own"))
    assert done.credentials == {"account_sid": Secret("AC2"), "auth_token": Secret("own")}
    assert all("/Accounts/AC2" in request.path for request in client.requests)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"phone_number": "call me"}, None),
        ({"phone_number": "+49/30"}, "phone_number"),
        ({"phone_number": ""}, "phone_number"),
        ({"account_sid": "AC2"}, "auth_token"),
        ({"auth_token": Secret("x")}, "auth_token"),
    ],
)
async def test_forms_that_cannot_work_are_refused_before_a_call(form: dict[str, object], field: str | None) -> None:
    client = provider()
    if field is None:
        assert (await connect(client, **form)).account == "callme"  # an alphanumeric sender
        return
    with pytest.raises(Refused) as refused:
        await connect(client, **form)
    assert refused.value.field == field
    assert client.requests == []


async def test_without_a_public_address_or_an_account_nothing_is_connected() -> None:
    with pytest.raises(Refused, match="public address"):
        await connect(provider(), here=replace(HERE, public_url=""))
    with pytest.raises(Refused, match="configure the Twilio account"):
        await connect(provider(), source=Twilio(TwilioSection(), PUBLIC_URL))


async def test_leaving_clears_the_numbers_webhook() -> None:
    client = provider()
    assert await SOURCE.disconnect(client, Target(channel=WIRE.channel(NUMBER)), ()) is None
    assert client.requests[-1].fields == {"SmsUrl": "", "SmsMethod": "POST"}


async def test_leaving_keeps_the_address_of_another_installation() -> None:
    client = provider(webhook="https://other.example.org/twilio")
    assert await SOURCE.disconnect(client, Target(channel=WIRE.channel(NUMBER)), ()) is None
    assert [request.method for request in client.requests] == ["GET"]


@pytest.mark.parametrize(
    ("webhook", "outcome"),
    [
        (WEBHOOK, "fine"),
        ("", "repaired"),
        (f"{PUBLIC_URL}/twilio", "repaired"),
        (f"{PUBLIC_URL}/twilio#rc=1", "repaired"),
        ("https://other.example.org/twilio", "posted to another address"),
        (f"{PUBLIC_URL}/twilio/other", "posted to another address"),
    ],
)
async def test_an_address_that_was_removed_is_set_again_and_one_of_another_installation_is_left_alone(
    webhook: str, outcome: str
) -> None:
    client = provider(webhook=webhook)
    checked = await SOURCE.check(client, Target(channel=WIRE.channel(NUMBER)), 0)
    assert bool(checked.repaired) is (outcome == "repaired")
    assert checked.problem == "" if outcome in {"fine", "repaired"} else outcome in checked.problem
    set_again = [request.fields for request in client.requests if request.method == "POST"]
    assert set_again == ([{"SmsUrl": WEBHOOK, "SmsMethod": "POST"}] if outcome == "repaired" else [])


@pytest.mark.parametrize("account", [NUMBER, f"whatsapp:{NUMBER}", "+15550001"])
async def test_an_account_that_is_not_active_is_told(account: str) -> None:
    target = Target(channel=WIRE.channel(account))
    assert await SOURCE.check(provider(), target, 0) == Checked()
    assert "suspended" in (await SOURCE.check(provider(status="suspended"), target, 0)).problem
    assert (await Twilio(TwilioSection(), PUBLIC_URL).check(provider(), target, 0)).problem


async def test_credentials_go_to_twilios_own_media_addresses_alone() -> None:
    target = Target(channel=WIRE.channel(NUMBER))
    call = await SOURCE.media(
        provider(), target, "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"
    )
    assert call.headers["authorization"]
    for url in ("https://api.twilio.com.example.net/x", "https://example.net/?https://api.twilio.com/", "file:///etc"):
        with pytest.raises(Refused):
            await SOURCE.media(provider(), target, url)
