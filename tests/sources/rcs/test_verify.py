"""Which requests are of RCS, and the registration of a webhook."""

import msgspec
import pytest

from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.google_api.signature import signature
from airy.sources.rcs.spec import RcsSection
from airy.sources.rcs.verify import verify
from tests.kit.providers import WIRES
from tests.kit.providers.rcs import AGENT, CLIENT_TOKEN, wrap

WIRE = WIRES["rcs"]
EVENT = b'{"senderPhoneNumber":"+4915112345678","agentId":"shop","messageId":"u-1","text":"x"}'


def asked(
    body: bytes,
    signed: bytes | None = EVENT,
    token: str = CLIENT_TOKEN,
    *,
    tokens: tuple[str, ...] = (CLIENT_TOKEN,),
    own: str | None = None,
) -> Verdict:
    accounts = ConnectedChannels([WIRE.channel(AGENT)], unseal=lambda _channel, _name: Secret(own) if own else None)
    headers = [] if signed is None else [(b"x-goog-signature", signature(Secret(token), signed))]
    request = WebhookRequest(method="POST", url="/rcs", path="/rcs", headers=headers, body=body)
    return verify(RcsSection(client_token=tuple(map(Secret, tokens))), request, accounts)


def test_the_signature_is_over_the_event_and_not_over_its_envelope() -> None:
    event = (
        b'{"senderPhoneNumber":"+4915112345678","eventType":"READ","eventId":"e-1","messageId":"m-1","agentId":"shop"}'
    )
    wanted = b"uo872C6c6xy0dsRhBiCYfCYtm2BNSd25/h7KuN7y2Ni99RlNIcrLS1ZAOZd3zB9gLO0lVRrkqrNqWmPeJwMhKQ=="
    assert signature(Secret("client-token"), event) == wanted
    assert asked(wrap(event), event) == Accepted(AGENT)
    assert isinstance(asked(wrap(event), wrap(event)), Denied)


def test_one_of_two_tokens_may_be_old_and_a_channel_may_have_its_own() -> None:
    for token in ("new", "old"):
        assert asked(wrap(EVENT), EVENT, token, tokens=("new", "old")) == Accepted(AGENT)
    assert asked(wrap(EVENT), EVENT, "own", own="own") == Accepted(AGENT)
    assert isinstance(asked(wrap(EVENT), own="own"), Denied)
    assert isinstance(asked(wrap(EVENT), tokens=()), Denied)


@pytest.mark.parametrize(
    "body", [EVENT, b"{}", b'{"message":{"data":5}}', b'{"message":{"data":"%"}}', '{"message":{"data":"ü"}}'.encode()]
)
def test_what_is_no_envelope_is_refused(body: bytes) -> None:
    assert isinstance(denied := asked(body, body), Denied)
    assert denied.status == 403


def test_the_registration_of_a_webhook_is_answered_with_its_secret() -> None:
    def registered(token: str) -> Verdict:
        return asked(msgspec.json.encode({"clientToken": token, "secret": "s-1"}), None, own="own")

    for token in (CLIENT_TOKEN, "own"):
        assert registered(token) == WebhookReply(body=b"s-1")
    assert isinstance(denied := registered("another"), Denied)
    assert denied.status == 403
