"""Which requests are Viber's, which bot they are for, and what they are answered."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import EMPTY_REPLY, Accepted, Denied, Verdict, WebhookRequest
from airy.sources.viber.spec import ViberSection
from airy.sources.viber.verify import signature, verify
from tests.kit.providers import WIRES
from tests.kit.providers.viber import BOT, CHANNEL, TOKEN

WIRE = WIRES["viber"]
STARTED = b'{"event":"conversation_started","message_token":1,"user":{"id":"u1Ab=="},"context":"qr-7"}'
CHECK = b'{"event":"webhook","timestamp":1735689600000,"message_token":7}'
WELCOME = ViberSection(welcome_message="Welcome!")


def asked(
    body: bytes,
    token: str = TOKEN,
    *,
    path: str = f"/viber/{CHANNEL}",
    section: ViberSection | None = None,
    accounts: ConnectedChannels | None = None,
    headers: Any = None,
) -> Verdict:
    own = path.removeprefix("/viber").removeprefix("/")
    request = WebhookRequest(
        method="POST",
        url=path,
        path=path,
        parameters={"channel_id": own} if own else {},
        headers=[(b"x-viber-content-signature", signature(Secret(token), body))] if headers is None else headers,
        body=body,
    )
    return verify(section or ViberSection(), request, WIRE.connected(BOT) if accounts is None else accounts)


def channel(account: str = BOT, **texts: str) -> Channel:
    known = {name: metadata.value(text) for name, text in texts.items()}
    return replace(WIRE.channel(account), metadata=known)


def connected(*channels: Channel, tokens: dict[str, str] | None = None) -> ConnectedChannels:
    """Each with the token of `tokens`; without one, with none of its own."""

    def unseal(of: Channel, _name: str) -> Secret | None:
        token = ({BOT: TOKEN} if tokens is None else tokens).get(of.source_channel_id)
        return None if token is None else Secret(token)

    return ConnectedChannels(channels, unseal=unseal)


def test_the_signature_is_the_hash_of_the_body_with_the_token() -> None:
    wanted = b"2dd91965f1bf86033b0505f762caa885969b362e3dc44e282cb79cf76c73ab2b"
    assert signature(Secret("viber-token"), b'{"event":"webhook"}') == wanted


def test_vi_1_f10_an_unsigned_callback_is_refused_and_a_contact_who_opens_the_chat_is_welcomed() -> None:
    assert isinstance(asked(STARTED, "another token"), Denied)
    assert isinstance(unsigned := asked(STARTED, headers=[]), Denied)
    assert unsigned.status == 401

    here = connected(channel(name="Bakery", image_url="https://img.example.org/b.png"))
    welcomed = asked(STARTED, section=WELCOME, accounts=here)
    assert isinstance(welcomed, Accepted)
    assert welcomed.account == BOT  # and the event is kept
    assert welcomed.reply.content_type == "application/json"
    assert msgspec.json.decode(welcomed.reply.body) == {
        "type": "text",
        "text": "Welcome!",
        "sender": {"name": "Bakery", "avatar": "https://img.example.org/b.png"},
    }


def test_a_welcome_may_be_any_message_and_the_channels_own() -> None:
    own = '{"type":"picture","text":"Hi","media":"https://x.example/1.jpg"}'
    welcomed = asked(STARTED, section=WELCOME, accounts=connected(channel(name="B" * 40, welcome_message=own)))
    assert isinstance(welcomed, Accepted)
    said = msgspec.json.decode(welcomed.reply.body)
    assert (said["type"], said["media"]) == ("picture", "https://x.example/1.jpg")
    assert said["sender"] == {"name": "B" * 28}


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"message","message":{"text":"conversation_started"}}',
        b'{"event":"subscribed","user":{"name":"conversation_started"}}',
        b'"conversation_started"' + b"[" * 50_000,
    ],
)
def test_other_callbacks_are_answered_with_nothing(body: bytes) -> None:
    verdict = asked(body, section=WELCOME)
    assert isinstance(verdict, Accepted)
    assert verdict.reply == EMPTY_REPLY
    without = asked(STARTED)
    assert isinstance(without, Accepted)
    assert without.reply == EMPTY_REPLY


def test_at_the_address_of_the_original_the_signature_tells_the_bot() -> None:
    here = connected(channel(), channel("pa:2"), channel("pa:3"), tokens={BOT: TOKEN, "pa:2": "second token"})
    for account, token in ((BOT, TOKEN), ("pa:2", "second token")):
        verdict = asked(STARTED, token, path="/viber", accounts=here)
        assert isinstance(verdict, Accepted)
        assert verdict.account == account
    assert isinstance(asked(STARTED, "third token", path="/viber", accounts=here), Denied)


def test_a_bot_is_not_reached_at_the_address_of_another() -> None:
    here = connected(channel(), channel("pa:2"), tokens={BOT: TOKEN, "pa:2": "second token"})
    assert isinstance(asked(STARTED, "second token", accounts=here), Denied)
    assert isinstance(asked(STARTED, path="/viber/unknown", accounts=here), Denied)


def test_a_channel_without_a_token_has_the_configured_ones_of_which_one_may_be_old() -> None:
    section = ViberSection(auth_token=(Secret("new"), Secret("old")))
    here = connected(channel(), tokens={})
    assert isinstance(asked(STARTED, "new", section=section, accounts=here), Accepted)
    assert isinstance(asked(STARTED, "old", section=section, accounts=here), Accepted)
    assert isinstance(asked(STARTED, "old", section=section), Denied)  # the channel has its own


def test_the_check_of_an_address_is_answered_before_the_bot_is_connected() -> None:
    """Viber posts it while `set_webhook` is called; nothing of it is kept."""
    for headers in ([], None):
        assert asked(CHECK, "a new token", accounts=connected(), headers=headers) == EMPTY_REPLY
    assert isinstance(asked(CHECK.replace(b"webhook", b"message"), "a new token", accounts=connected()), Denied)
    assert isinstance(asked(CHECK + b" " * 2_000, "a new token", accounts=connected()), Denied)
