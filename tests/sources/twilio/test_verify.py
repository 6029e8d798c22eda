"""Which requests are Twilio's: published vectors, both spellings of the port, rules, and secrets by account."""

from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied, Verdict, WebhookRequest
from airy.sources.twilio import verify as verify_module
from airy.sources.twilio.spec import RETRIES, TwilioSection
from airy.sources.twilio.verify import verify
from tests.kit.providers import WIRES
from tests.kit.providers.twilio import signature

SECTION = TwilioSection(auth_token=(Secret("twilio-token"),), shared_keys={"WK1": Secret("twilio-shared")})
URL = "https://inbox.example.org/twilio"
FORM = urlencode(
    {
        "Body": "Hallo & tschüss",
        "From": "+4915112345678",
        "MessageSid": "SM0000000000000000000000000000000a",
        "NumMedia": "0",
        "To": "+4930901820",
    }
).encode()
NO_CHANNELS = ConnectedChannels()
CONNECTED = WIRES["twilio"].connected("+4930901820")


def asked(
    signed: bytes,
    *,
    url: str = URL,
    body: bytes = FORM,
    section: TwilioSection = SECTION,
    rule: bytes | None = None,
    accounts: ConnectedChannels = NO_CHANNELS,
) -> Verdict:
    headers = [(b"x-twilio-signature", signed)]
    if rule is not None:
        headers.append((b"X-Twilio-Webhooks-Signature-Settings", rule))
    query = url.partition("?")[2]
    request = WebhookRequest(method="POST", url=url, path="/twilio", query=query, headers=headers, body=body)
    return verify(section, request, accounts)


@pytest.mark.parametrize(
    ("signed", "url", "body"),
    [
        (b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", URL, FORM),
        (b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", "https://inbox.example.org:443/twilio", FORM),
        (b"ap7R0tBFQHrmqVFFugqdj7bO5yI=", URL, FORM),
        (b"ap7R0tBFQHrmqVFFugqdj7bO5yI=", "https://inbox.example.org:443/twilio", FORM),
        (b"M3fFMV2JbonJYpYIw2bsq81nRuA=", URL, b"Digits=5678&Digits=1234&Digits=1234&Sid=CA1"),
        (
            b"1WA0T9C09zpxDi8425ARTVaSC4A=",
            f"{URL}?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
            b'{"a":1}',
        ),
    ],
)
def test_published_vectors_are_accepted(signed: bytes, url: str, body: bytes) -> None:
    assert isinstance(asked(signed, url=url, body=body), Accepted)


def test_the_account_is_our_side_of_the_message() -> None:
    verdict = asked(b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=")
    assert isinstance(verdict, Accepted)
    assert verdict.account == "+4930901820"
    assert (verdict.reply.body, verdict.reply.content_type) == (b"<Response/>", "text/xml; charset=utf-8")


def test_a_json_body_that_is_not_the_one_hashed_is_refused() -> None:
    url = f"{URL}?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert status(asked(b"1WA0T9C09zpxDi8425ARTVaSC4A=", url=url, body=b'{"a":2}')) == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://inbox.example.org/twilio",
        "https://inbox.example.org/twilio/",
        "https://inbox.example.org/twilio?x=1",
        "https://other.example.org/twilio",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    assert status(asked(b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", url=url, accounts=CONNECTED)) == 503


def test_what_is_signed_with_a_secret_that_is_not_known_yet_is_asked_to_come_again() -> None:
    """The number may post here before the channel, with the token of its account, is in the store."""
    own = signature("own-token", URL, FORM)
    assert status(asked(own)) == 503
    assert status(asked(own, accounts=CONNECTED)) == 503
    connected = ConnectedChannels([WIRES["twilio"].channel("+4930901820")], unseal=lambda *_: Secret("own-token"))
    assert status(asked(own, accounts=connected)) is None
    assert status(asked(own, rule=b"key=WK1,algorithm=HMAC_SHA256")) == 503


@pytest.mark.parametrize("url", [URL, "https://inbox.example.org:443/twilio"])
def test_the_fragment_that_asks_for_retries_may_be_signed_or_not(url: str) -> None:
    assert isinstance(asked(signature("twilio-token", URL + RETRIES, FORM), url=url), Accepted)
    assert status(asked(signature("twilio-token", URL + "#rc=5", FORM), url=url, accounts=CONNECTED)) == 503


def test_without_a_public_address_nothing_can_be_verified() -> None:
    assert status(asked(b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", url="/twilio")) == 503


def test_a_token_that_is_rotated_out_still_counts() -> None:
    rotated = replace(SECTION, auth_token=(Secret("new"), Secret("twilio-token")))
    assert isinstance(asked(b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", section=rotated), Accepted)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (b"key=WK1,algorithm=HMAC_SHA256", None),
        (b"algorithm=HMAC_SHA256, key=WK1", None),
        (b"key=WK2,algorithm=HMAC_SHA256", 503),
        (b"key=WK1,algorithm=HMAC_SHA1", 403),
        (b"key=WK1", 403),
        (b"\xff", 403),
    ],
)
def test_a_webhook_rule_names_key_and_algorithm(rule: bytes, code: int | None) -> None:
    assert status(asked(b"DKVEiGsd5pJuJH9rfEnPbgFsXKPiLYGobwVZEJfU8KI=", rule=rule)) == code


def test_the_sha1_signature_does_not_satisfy_a_rule() -> None:
    assert status(asked(b"qmaMkvOwnkM7pEpwnqiqxkDtDh4=", rule=b"key=WK1,algorithm=HMAC_SHA256")) == 503


def test_a_channel_with_an_account_of_its_own_is_verified_with_its_own_token() -> None:
    wire = WIRES["twilio"]
    channel = wire.channel("+4930901820")
    accounts = ConnectedChannels(
        [channel], unseal=lambda _, name: Secret("own-token") if name == "auth_token" else None
    )
    codes = []
    for secret in ("own-token", "twilio-token"):
        headers = [(b"x-twilio-signature", signature(secret, URL, FORM))]
        request = WebhookRequest(method="POST", url=URL, path="/twilio", headers=headers, body=FORM)
        codes.append(status(verify(SECTION, request, accounts)))
    assert codes == [None, 503]


def test_a_status_names_our_message_in_its_address() -> None:
    url = "https://inbox.example.org/twilio/status?m=0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60&a=2&c=11111111-2222-5333-8444-555555555555"
    body = urlencode({"MessageSid": "SM1", "MessageStatus": "sent", "From": "+49309", "To": "+49151"}).encode()
    verdict = asked(signature("twilio-token", url, body), url=url, body=body)
    assert isinstance(verdict, Accepted)
    assert verdict.account == "+49309"
    assert verdict.headers == {
        "message-id": "0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60",
        "message-attempt": "2",
        "message-conversation": "11111111-2222-5333-8444-555555555555",
    }


def test_values_that_are_not_utf8_are_signed_as_bytes() -> None:
    body = b"Body=%FF&To=%2B49309"
    signed = URL.encode() + b"Body\xffTo+49309"
    import hmac
    from base64 import b64encode

    assert isinstance(asked(b64encode(hmac.digest(b"twilio-token", signed, "sha1")), body=body), Accepted)


def status(verdict: Verdict) -> int | None:
    return verdict.status if isinstance(verdict, Denied) else None


def test_an_account_that_is_not_utf_8_is_still_a_key_of_the_log() -> None:
    signed = verify_module.signature(Secret("twilio-token"), f"{URL}To\udcff")
    verdict = asked(signed, body=b"To=%FF")
    assert isinstance(verdict, Accepted)
    assert verdict.account.encode() == b"?"
