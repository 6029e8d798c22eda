"""Which requests are Google's, and the registration of a webhook."""

import msgspec
import pytest

from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.google.spec import GoogleSection
from airy.sources.google.verify import verify
from airy.sources.google_api.signature import signature
from tests.kit.providers import WIRES
from tests.kit.providers.google import AGENT, PARTNER_KEY

WIRE = WIRES["google"]
EVENT = b'{"agent":"brands/b-1/agents/agent-7f3a","conversationId":"c","message":{"text":"x"}}'


def asked(
    body: bytes,
    key: str = PARTNER_KEY,
    *,
    keys: tuple[str, ...] = (PARTNER_KEY,),
    own: str | None = None,
    signed: bool = True,
) -> Verdict:
    accounts = ConnectedChannels([WIRE.channel(AGENT)], unseal=lambda _channel, _name: Secret(own) if own else None)
    request = WebhookRequest(
        method="POST",
        url="/google",
        path="/google",
        headers=[(b"x-goog-signature", signature(Secret(key), body))] if signed else [],
        body=body,
    )
    return verify(GoogleSection(partner_key=tuple(map(Secret, keys))), request, accounts)


def test_the_signature_is_the_hash_of_the_body_with_the_partner_key() -> None:
    wanted = b"s7zMqxoV3CEKGhOc4etEgD9SHjxswj3SM2Vec1cjX4k5elbS90E7oFA6ytyl72cdZqPdSEZmCCX0JpzdQ4sJzw=="
    assert signature(Secret("partner-key"), b'{"ping":1}') == wanted


def test_one_of_two_keys_may_be_old_and_a_channel_may_have_its_own() -> None:
    for key in ("new", "old"):
        assert asked(EVENT, key, keys=("new", "old")) == Accepted(AGENT)
    assert asked(EVENT, "own", own="own") == Accepted(AGENT)
    assert isinstance(asked(EVENT, own="own"), Denied)
    assert isinstance(asked(EVENT, keys=()), Denied)
    assert isinstance(asked(EVENT, "", keys=()), Denied)


@pytest.mark.parametrize("body", [b"{}", b'{"agent":5}', b'{"agent":"agents/a/b"}', b"[1]", b"x"])
def test_what_names_no_agent_is_kept_under_none(body: bytes) -> None:
    assert asked(body) == Accepted("")


def test_the_registration_of_a_webhook_is_answered_with_its_secret() -> None:
    def registered(token: object, **more: object) -> Verdict:
        body = msgspec.json.encode({"clientToken": token, "secret": "s-1", **more})
        return asked(body, keys=("new", PARTNER_KEY), own="own", signed=False)

    for token in (PARTNER_KEY, "new", "own"):
        assert registered(token) == WebhookReply(body=b"s-1")
    assert isinstance(denied := registered("another"), Denied)
    assert denied.status == 403
    assert isinstance(registered(PARTNER_KEY, secret=5), Denied)  # no registration, and not signed
    assert isinstance(registered(PARTNER_KEY, padding="x" * 5_000), Denied)
