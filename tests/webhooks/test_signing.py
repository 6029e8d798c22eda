"""Signatures: known values, and verification by a receiver."""

import hashlib
import hmac
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.errors import Refused
from airy.webhooks import signing


def test_the_example_of_the_standard() -> None:
    """Values of the specification's own example."""
    key = signing.secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = signing.standard([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=24, max_size=64), st.text(min_size=1), st.integers(0, 2**40), st.binary())
def test_a_receiver_can_verify_a_signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> None:
    version, _, signature = signing.standard([key], message_id, timestamp_s, body).partition(",")
    expected = hmac.new(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
    assert (version, b64decode(signature)) == ("v1", expected)


def test_both_secrets_sign_during_rotation() -> None:
    old, new = b"o" * 32, b"n" * 32
    both = signing.standard([new, old], "id", 1, b"{}").split(" ")
    assert both == [signing.standard([new], "id", 1, b"{}"), signing.standard([old], "id", 1, b"{}")]


@given(st.text(min_size=1), st.binary())
def test_the_original_signature_is_hex_over_the_exact_body(key: str, body: bytes) -> None:
    try:
        expected = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    except UnicodeEncodeError:
        return
    assert signing.content(key, body) == expected


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_round_trips_through_its_text(key: bytes) -> None:
    assert signing.secret_key(signing.secret_text(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_" + b64encode(b"short").decode(),
        "whsec_!" * 9,
        "whsec_é" * 9,
        "whsec_" + b64encode(b"x" * 65).decode(),
    ],
)
def test_an_invalid_secret_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Refused) as refused:
        signing.secret_key(text)
    assert not text or text not in str(refused.value).replace("whsec_ and", "")
