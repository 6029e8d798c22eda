"""Authentication of webhooks: signatures over raw bytes, and the subscription handshake."""

import pytest

from airy.errors import Refused
from airy.sources.api import Accepted, Denied
from airy.sources.facebook import Facebook, FacebookConfig
from airy.sources.facebook.verify import account_of
from tests.sources.facebook.test_contract import CONFIG, signature

SOURCE = Facebook(CONFIG)
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
    assert SOURCE.verify([(b"x-hub-signature-256", b"sha256=" + digest)], body) == Accepted(account)


@pytest.mark.parametrize(
    "digest",
    [
        b"sha1=4c9d46957740c5094758b258e24de20040cdea53",  # Meta's older header
        b"sha1=0a031a68271d530bdb636edb7b3f3f24e5c7609a",  # a plain hash of body and secret
    ],
)
def test_older_signatures_are_denied(digest: bytes) -> None:
    body = b'{"object":"page","entry":[]}'
    alone = SOURCE.verify([(b"x-hub-signature", digest)], body)
    instead = SOURCE.verify([(b"x-hub-signature-256", digest)], body)
    assert isinstance(alone, Denied)
    assert isinstance(instead, Denied)
    assert (alone.status, instead.status) == (401, 403)


def test_both_secrets_are_accepted_while_one_is_rotated_out() -> None:
    source = Facebook(FacebookConfig("990011", ("new", "old"), "verify-me"))
    verdicts = [source.verify(signature(secret, TEXT), TEXT) for secret in ("new", "old", "older")]
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
def test_only_the_documented_spelling_is_a_signature(given: bytes) -> None:
    verdict = SOURCE.verify([(b"x-hub-signature-256", given)], b'{"object":"page","entry":[]}')
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
def test_the_account_is_read_from_the_first_bytes_or_not_at_all(body: bytes, account: str) -> None:
    assert account_of(body) == account


# --- the handshake

QUERY = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "1158201444"}


def test_the_challenge_is_echoed_verbatim() -> None:
    assert SOURCE.handshake(QUERY) == "1158201444"
    assert SOURCE.handshake(QUERY | {"hub.challenge": " <b>0012</b>"}) == " <b>0012</b>"


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
def test_a_handshake_that_does_not_match_is_rejected(changed: dict[str, str], status: int) -> None:
    denied = SOURCE.handshake(QUERY | changed)
    assert isinstance(denied, Denied)
    assert denied.status == status


@pytest.mark.parametrize(("missing", "status"), [("hub.mode", 403), ("hub.verify_token", 403), ("hub.challenge", 400)])
def test_an_incomplete_handshake_is_rejected(missing: str, status: int) -> None:
    denied = SOURCE.handshake({name: text for name, text in QUERY.items() if name != missing})
    assert isinstance(denied, Denied)
    assert denied.status == status


# --- the configuration


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"app_secrets": ()}, "app_secrets"),
        ({"app_secrets": ("",)}, "app_secrets"),
        ({"app_secrets": ("a", "b", "c")}, "app_secrets"),
        ({"verify_token": ""}, "verify_token"),
        ({"graph_version": "23"}, "graph_version"),
        ({"graph_version": "v23.0/.."}, "graph_version"),
        ({"graph_url": "graph.facebook.com"}, "graph_url"),
    ],
)
def test_a_configuration_that_would_accept_any_webhook_is_rejected(wrong: dict[str, object], field: str) -> None:
    right: dict[str, object] = {"app_id": "1", "app_secrets": ("s",), "verify_token": "v"}
    with pytest.raises(Refused) as refused:
        FacebookConfig(**(right | wrong))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_secrets_are_not_printed() -> None:
    config = FacebookConfig("990011", ("clear-1", "clear-2"), "clear-3", graph_url="http://127.0.0.1:1/")
    assert "clear-" not in repr(config)
    assert config.graph == "http://127.0.0.1:1/v23.0"
