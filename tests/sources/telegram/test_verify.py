"""Which requests are Telegram's: each bot has an address and a secret of its own."""

import msgspec

from airy.sources.api import Accepted, Denied, Verdict, WebhookRequest
from airy.sources.telegram.verify import verify
from tests.kit.providers import WIRES
from tests.kit.providers.telegram import BOT, CHANNEL, WEBHOOK_SECRET

WIRE = WIRES["telegram"]


def asked(
    secret: bytes = WEBHOOK_SECRET.encode(), channel_id: str = CHANNEL, body: bytes = b"{}", *, connected: bool = True
) -> Verdict:
    request = WebhookRequest(
        method="POST",
        url="",
        path=f"/telegram/{channel_id}",
        parameters={"channel_id": channel_id},
        headers=[(b"x-telegram-bot-api-secret-token", secret)],
        body=body,
    )
    return verify(request, WIRE.connected(BOT) if connected else WIRE.connected())


def test_the_secret_of_the_channel_is_accepted_for_its_bot() -> None:
    verdict = asked()
    assert isinstance(verdict, Accepted)
    assert (verdict.account, verdict.reply.body) == (BOT, b"")


def test_an_unknown_channel_and_a_wrong_secret_are_told_apart_by_no_answer() -> None:
    refused = [asked(b"wrong"), asked(channel_id="x"), asked(connected=False), asked(b""), asked("ü".encode())]
    assert len(set(map(repr, refused))) == 1
    assert isinstance(refused[0], Denied)
    assert refused[0].status == 403


def test_an_empty_secret_opens_nothing_where_none_is_stored() -> None:
    accounts = WIRE.connected(BOT)
    accounts._unseal = lambda _channel, _name: None
    request = WebhookRequest(
        method="POST",
        url="",
        path="",
        parameters={"channel_id": CHANNEL},
        headers=[(b"x-telegram-bot-api-secret-token", b"")],
    )
    assert isinstance(verify(request, accounts), Denied)


def test_a_tap_is_answered_in_the_response() -> None:
    verdict = asked(body=b'{"update_id":1,"callback_query":{"id":"4382bf","data":"HOURS"}}')
    assert isinstance(verdict, Accepted)
    assert verdict.reply.content_type == "application/json"
    assert msgspec.json.decode(verdict.reply.body) == {"method": "answerCallbackQuery", "callback_query_id": "4382bf"}


def test_a_response_calls_nothing_for_other_updates() -> None:
    """Text that only looks like a tap, and taps that cannot be read."""
    for body in (
        b'{"message":{"text":"\\"callback_query\\""}}',
        b'{"callback_query":5}',
        b'{"callback_query":{"id":5}}',
        b'{"callback_query"',
        b'"callback_query"' + b"[" * 50_000,
    ):
        verdict = asked(body=body)
        assert isinstance(verdict, Accepted)
        assert verdict.reply.body == b""
