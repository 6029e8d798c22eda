"""Who may tell us something: signatures over raw bytes, and the subscription handshake."""

import hmac
from urllib.parse import urlencode

import pytest

from airy.errors import Refused
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.meta.app import MetaApp
from airy.sources.meta.signature import account_of, verify
from tests.kit.providers import WIRES

SOURCE = WIRES["facebook"].source()
HEADER = b"x-hub-signature-256"


def request(header: bytes, value: bytes, body: bytes) -> WebhookRequest:
    return WebhookRequest(method="POST", url="", path="/facebook", headers=[(header, value)], body=body)


def posted(value: bytes, body: bytes, header: bytes = HEADER) -> Verdict:
    return SOURCE.verify(request(header, value, body), ConnectedChannels())


def asked(fields: dict[str, str]) -> Verdict:
    query = urlencode(fields)
    return SOURCE.verify(WebhookRequest(method="GET", url="", path="/facebook", query=query), ConnectedChannels())


TEXT = (
    b'{"object":"page","entry":[{"id":"204918377001","time":1735689601123,"messaging":[{"sender":'
    b'{"id":"6120000000000001"},"recipient":{"id":"204918377001"},"timestamp":1735689600987,"message":'
    b'{"mid":"m_AbC-001","text":"Is the rye bread back?"}}]}]}'
)


@pytest.mark.parametrize(
    ("body", "digest", "account"),
    [
        (b'{"object":"page","entry":[]}', b"e6e9d7a842a48e17f43a34d6125d0d933e2aab92ee37f0993a4d493b50e3d438", ""),
        (TEXT, b"4c64ab774afe88572391653fb0f38050e4a67b0213794fbca85ae89dec10a03d", "204918377001"),
    ],
)
def test_published_vectors_are_accepted(body: bytes, digest: bytes, account: str) -> None:
    assert posted(b"sha256=" + digest, body) == Accepted(account)


@pytest.mark.parametrize(
    "digest",
    [
        b"sha1=4c9d46957740c5094758b258e24de20040cdea53",  # Meta's older header
        b"sha1=0a031a68271d530bdb636edb7b3f3f24e5c7609a",  # a plain hash of body and secret
    ],
)
def test_the_older_signature_counts_for_nothing(digest: bytes) -> None:
    body = b'{"object":"page","entry":[]}'
    alone = posted(digest, body, b"x-hub-signature")
    instead = posted(digest, body)
    assert isinstance(alone, Denied)
    assert isinstance(instead, Denied)
    assert (alone.status, instead.status) == (401, 403)


def test_both_secrets_are_accepted_while_one_is_rotated_out() -> None:
    app = MetaApp("990011", ("new", "old"), "verify-me")
    signed = [hmac.new(secret.encode(), TEXT, "sha256").hexdigest() for secret in ("new", "old", "older")]
    verdicts = [verify(app, request(HEADER, f"sha256={digest}".encode(), TEXT)) for digest in signed]
    assert [isinstance(verdict, Accepted) for verdict in verdicts] == [True, True, False]


@pytest.mark.parametrize(
    "given",
    [
        b"e6e9d7a842a48e17f43a34d6125d0d933e2aab92ee37f0993a4d493b50e3d438",
        b"sha256=E6E9D7A842A48E17F43A34D6125D0D933E2AAB92EE37F0993A4D493B50E3D438",
        b"sha256=e6e9d7a842a48e17f43a34d6125d0d933e2aab92ee37f0993a4d493b50e3d43",
        b"sha256=e6e9d7a842a48e17f43a34d6125d0d933e2aab92ee37f0993a4d493b50e3d4380",
        b"sha256=e6e9d7a842a48e17f43a34d6125d0d933e2aab92ee37f0993a4d493b50e3d438,sha256=00",
    ],
)
def test_only_the_one_spelling_is_a_signature(given: bytes) -> None:
    verdict = posted(given, b'{"object":"page","entry":[]}')
    assert isinstance(verdict, Denied)
    assert verdict.status == 403


# --- the account


@pytest.mark.parametrize(
    ("body", "account"),
    [
        (TEXT, "204918377001"),
        (b'{"entry":[{"time":1,"id":"7","messaging":[]}],"object":"page"}', "7"),
        (b'{ "object" : "page",\n "entry" : [ { "time" : 1 , "id" : 7 } ] }', "7"),
        (b'{"object":"page","entry":[{"messaging":[{"sender":{"id":"612"}}],"id":"7"}]}', ""),
        (b'{"object":"page","entry":[{"id":"a\\u0041"}]}', ""),
        (b'{"object":"page","entry":[{"id":"' + b"7" * 65 + b'"}]}', ""),
        (b'{"object":"page","entry":[{"id":7', ""),
        (b'{"object":"page","entry":{"id":"7"}}', ""),
        (b'{"x":"\\"entry\\":[{\\"id\\":\\"7\\"}]"}', ""),
        (b" " * 1024 + TEXT, ""),
        (b"", ""),
        (b"\xff\x00", ""),
    ],
)
def test_the_account_is_told_at_a_glance_or_not_at_all(body: bytes, account: str) -> None:
    assert account_of(body) == account


# --- the handshake

QUERY = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "1158201444"}


def test_the_challenge_is_echoed_verbatim() -> None:
    assert asked(QUERY) == WebhookReply(body=b"1158201444")
    assert asked(QUERY | {"hub.challenge": " <b>0012</b>"}) == WebhookReply(body=b" <b>0012</b>")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"hub.verify_token": "verify-mE"}, 403),
        ({"hub.verify_token": ""}, 403),
        ({"hub.verify_token": "ü"}, 403),
        ({"hub.mode": "unsubscribe"}, 403),
        ({"hub.mode": ""}, 403),
    ],
)
def test_a_handshake_that_does_not_match_is_refused(changed: dict[str, str], status: int) -> None:
    denied = asked(QUERY | changed)
    assert isinstance(denied, Denied)
    assert denied.status == status


@pytest.mark.parametrize(("missing", "status"), [("hub.mode", 403), ("hub.verify_token", 403), ("hub.challenge", 400)])
def test_a_handshake_with_a_part_missing_is_refused(missing: str, status: int) -> None:
    denied = asked({name: text for name, text in QUERY.items() if name != missing})
    assert isinstance(denied, Denied)
    assert denied.status == status


# --- the configuration


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"app_secrets": ()}, "app_secrets"),
        ({"app_secrets": ("",)}, "app_secrets"),
        ({"app_secrets": tuple("abcdefg")}, "app_secrets"),
        ({"verify_token": ""}, "verify_token"),
        ({"graph_version": "23"}, "graph_version"),
        ({"graph_version": "v26.0/.."}, "graph_version"),
        ({"graph_url": "graph.facebook.com"}, "graph_url"),
    ],
)
def test_a_configuration_that_would_admit_any_caller_is_refused(wrong: dict[str, object], field: str) -> None:
    right: dict[str, object] = {"app_id": "1", "app_secrets": ("s",), "verify_token": "v"}
    with pytest.raises(Refused) as refused:
        MetaApp(**(right | wrong))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_secrets_are_not_printed() -> None:
    config = MetaApp("990011", ("quiet-1", "quiet-2"), "quiet-3", graph_url="http://127.0.0.1:1/")
    assert "quiet" not in repr(config)
    assert config.graph == "http://127.0.0.1:1/v26.0"
