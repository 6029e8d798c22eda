"""Twilio's own library and ours accept the same signatures."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Accepted, WebhookRequest
from airy.sources.twilio.spec import TwilioSection
from airy.sources.twilio.verify import RULE_HEADER, verify

Pairs = list[tuple[str, str]]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["Body", "body", "To", "From", "Digits", "Ä", "a b", "MediaUrl0", ""]) | TEXTS
PAIRS = st.lists(st.tuples(NAMES, TEXTS), max_size=6)
PATHS = st.lists(TEXTS.map(lambda text: quote(text, safe="")), max_size=3).map(lambda parts: "/".join(["", *parts]))
QUERIES = st.just("") | PAIRS.filter(bool).map(lambda pairs: f"?{urlencode(pairs)}")
ADDRESSES = st.builds(
    lambda scheme, port, path, query: f"{scheme}://inbox.example.org{port}{path}{query}",
    st.sampled_from(["https", "http"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    PATHS,
    QUERIES,
)
ALGORITHMS = st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"])


class Repeated:
    """Parameters with several values, as web frameworks give them to the library."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    def __iter__(self) -> Any:
        return iter([name for name, _ in self._pairs])

    def __len__(self) -> int:
        return len(self._pairs)

    def getall(self, name: str) -> list[str]:
        return [value for given, value in self._pairs if given == name]


def ours(url: str, body: bytes, token: str, signed: str, algorithm: str) -> bool:
    headers = [(b"x-twilio-signature", signed.encode())]
    section = TwilioSection(auth_token=(Secret(token),))
    if algorithm == "HMAC_SHA256":
        headers.append((RULE_HEADER, b"key=WK1,algorithm=HMAC_SHA256"))
        section = TwilioSection(auth_token=(Secret("another"),), shared_keys={"WK1": Secret(token)})
    query = url.partition("?")[2]
    request = WebhookRequest(method="POST", url=url, path="/twilio", query=query, headers=headers, body=body)
    return isinstance(verify(section, request, ConnectedChannels()), Accepted)


@given(url=ADDRESSES, called=ADDRESSES, pairs=PAIRS, other=PAIRS, token=TEXTS.filter(bool), algorithm=ALGORITHMS)
@example(
    url="https://inbox.example.org:8443/twilio",
    called="https://inbox.example.org/twilio",
    pairs=[("Digits", "2"), ("Digits", "1"), ("Digits", "1")],
    other=[],
    token="t",
    algorithm="HMAC_SHA1",
)
def test_both_agree_on_any_address_and_form(
    url: str, called: str, pairs: Pairs, other: Pairs, token: str, algorithm: str
) -> None:
    """`url` is what we know to have been called, `called` another spelling or address that Twilio may have signed."""
    validator = RequestValidator(token)
    body = urlencode(pairs).encode()
    without_port = url.replace(":8443", "").replace(":443", "").replace(":80", "")
    for address in (url, called, without_port):
        for form in (pairs, other):
            signed = validator.compute_signature(address, Repeated(form), algorithm)
            wanted = validator.validate(url, Repeated(pairs), signed, algorithm)
            assert ours(url, body, token, signed, algorithm) == wanted, (address, form)
    assert not ours(url, body, f"{token}x", validator.compute_signature(url, Repeated(pairs), algorithm), algorithm)


@given(document=TEXTS, changed=TEXTS, token=TEXTS.filter(bool), algorithm=ALGORITHMS)
def test_both_agree_on_json_bodies(document: str, changed: str, token: str, algorithm: str) -> None:
    validator = RequestValidator(token)
    url = f"https://inbox.example.org/twilio?bodySHA256={validator.compute_hash(document)}"
    signed = validator.compute_signature(url, {}, algorithm)
    for body in (document, changed):
        wanted = validator.validate(url, body, signed, algorithm)
        assert ours(url, body.encode(), token, signed, algorithm) == wanted


@pytest.mark.parametrize("settings", ["key=WK1,algorithm=HMAC_SHA512", "algorithm=HMAC_MD5,key=WK1"])
def test_neither_knows_another_algorithm(settings: str) -> None:
    assert not RequestValidator("t").validate("https://x.example/", {}, "x", settings.rpartition("=")[2])
