"""Where Instagram differs from Messenger: its limits, its accounts, and the webhook it shares."""

from typing import Any

import msgspec
import pytest

from airy.clock import LoopClock
from airy.errors import Refused
from airy.model import metadata
from airy.secret import Secret
from airy.sources.api import AccountKey, Call, Connected, Failed, Installation, Target
from airy.sources.instagram.spec import ConnectAccount
from tests.kit.contracts.source import conversation, outbound, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.meta import ACCOUNT, PAGE, TOKEN
from tests.kit.scripted_provider import ScriptedProvider

WIRE, MESSENGER = WIRES["instagram"], WIRES["facebook"]
SOURCE: Any = WIRE.source()
CALLS = {"title": "Call us", "payload": "+4930901820", "kind": "call"}
OPENS = {"title": "Shop", "payload": "https://shop.example.net/", "kind": "url"}
HERE = Installation(derived_secret=lambda _: Secret("unused"), public_url=PUBLIC_URL)


def encode(content: object) -> Call | Failed:
    target = Target(
        channel=WIRE.channel(ACCOUNT),
        conversation=conversation(participant_id="9001000000000042"),
        credentials={"token": Secret(TOKEN)},
    )
    calls = SOURCE.encode(outbound(content), target, 0)
    return calls if isinstance(calls, Failed) else calls[0]


def test_a_message_carries_no_metadata_because_its_echo_would_not() -> None:
    call = encode({"text": "x"})
    assert isinstance(call, Call)
    assert msgspec.json.decode(call.body or b"")["message"] == {"text": "x"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "ü" * 500}, None),
        ({"text": "ü" * 501}, "text has 1002 bytes and instagram takes 1000"),
        ({"attachment": {"type": "like_heart"}}, None),
        ({"attachment": {"type": "MEDIA_SHARE", "payload": {"id": "77"}}}, None),
        ({"attachment": {"type": "MEDIA_SHARE", "payload": {}}}, "attachment.payload.id is missing"),
        ({"attachments": [{"type": "image", "payload": {"url": "https://x.example/1.jpg"}}] * 10}, None),
        ({"attachments": [{"type": "image", "payload": {"url": "https://x.example/1.jpg"}}] * 11}, "has 11 entries"),
        ({"attachments": [{"type": "video", "payload": {"url": "https://x.example/1"}}]}, "type is image"),
        ({"sticker_id": 1}, "instagram has no messages with sticker_id"),
        ({"template": {"name": "x"}}, "instagram has no messages with template"),
        ({"canonical": {"type": "template", "name": "x", "language": "en"}}, "content of type template"),
        ({"canonical": {"type": "location", "latitude": 1, "longitude": 2}}, "content of type location"),
        ({"canonical": {"type": "choice", "text": "x", "options": [CALLS]}}, "no buttons that call a number"),
        ({"canonical": {"type": "card", "title": "x", "buttons": [CALLS]}}, "no buttons that call a number"),
        ({"canonical": {"type": "choice", "text": "x", "options": [OPENS]}}, None),
        ({"text": "x", "tag": "POST_PURCHASE_UPDATE"}, "with HUMAN_AGENT within 7 days"),
    ],
)
def test_instagram_has_limits_of_its_own(content: object, said: str | None) -> None:
    call = encode(content)
    if said is None:
        assert isinstance(call, Call), call
    else:
        assert isinstance(call, Failed)
        assert said in call.error


async def test_an_account_is_connected_through_its_page() -> None:
    """FB-6, H7."""
    client = ScriptedProvider(WIRE, LoopClock())
    form = ConnectAccount(page_id=PAGE, account_id=ACCOUNT, page_token=Secret(TOKEN))
    done = await SOURCE.connect(client, "instagram", form, HERE)
    assert done.instructions.startswith(
        "Once for the app, in its dashboard: let the webhook of instagram call /instagram"
    )
    assert {setting.name: setting.value.reveal() for setting in done.settings} == {
        "webhook_url": f"{PUBLIC_URL}/instagram",
        "webhook_fields": ",".join(SOURCE.webhook_fields),
    }
    assert msgspec.structs.replace(done, instructions="", settings=()) == Connected(
        account=ACCOUNT,
        name="Corner Bakery Instagram account",
        metadata={"auth": "facebook_page", "page_id": PAGE, "account_id": ACCOUNT},
        credentials={"token": Secret(TOKEN)},
    )
    assert [request.path.rpartition("/")[2] for request in client.requests] == ["access_token", PAGE, "subscribed_apps"]


async def test_an_account_that_is_another_pages_is_refused() -> None:
    form = ConnectAccount(page_id=PAGE, account_id="17000", page_token=Secret(TOKEN))
    with pytest.raises(Refused, match="linked with the Instagram account") as refused:
        await SOURCE.connect(ScriptedProvider(WIRE, LoopClock()), "instagram", form, HERE)
    assert refused.value.field == "account_id"


@pytest.mark.parametrize("shared", [True, False])
async def test_leaving_ends_the_pages_subscription_unless_messenger_needs_it(shared: bool) -> None:
    client = ScriptedProvider(WIRE, LoopClock())
    named = {"page_id": metadata.value(PAGE)}
    account = msgspec.structs.replace(WIRE.channel(ACCOUNT), metadata=named)
    page = msgspec.structs.replace(MESSENGER.channel(PAGE), metadata=named)
    target = Target(channel=account, credentials={"token": Secret(TOKEN)})
    assert await SOURCE.disconnect(client, target, [page] if shared else []) is None
    assert [request.method for request in client.requests] == ([] if shared else ["DELETE"])


def test_what_arrives_at_the_shared_webhook_is_handed_over_and_means_the_same() -> None:
    """Facebook's source reports the account under its kind; the same bytes are routed here."""
    webhook = WIRE.received("instagram", 1, "hello", 1_735_689_799_000)
    connected = WIRE.connected(ACCOUNT)
    facebook: Any = MESSENGER.source()
    there = facebook.route(raw_record(facebook, webhook.body), connected)
    assert (there.facts, there.unknown) == ([], [AccountKey("instagram", ACCOUNT)])
    here = SOURCE.route(raw_record(facebook, webhook.body), connected)
    assert [fact.source for fact in here.facts] == ["instagram"]
    assert here.unknown == []
