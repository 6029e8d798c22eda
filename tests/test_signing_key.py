from base64 import b64encode

import pytest

from airy.errors import Refused
from airy.secret import Secret
from airy.signing_key import signing_key

KEYS = [bytes(range(length)) for length in (32, 33, 34, 64)]  # with two, no, one and two signs of padding


@pytest.mark.parametrize("key", KEYS, ids=len)
def test_a_secret_in_standard_base64_is_the_key_to_its_last_byte(key: bytes) -> None:
    assert signing_key(Secret(b64encode(key).decode())) == key


def test_other_characters_and_an_incomplete_group_are_skipped() -> None:
    text = b64encode(bytes(33)).decode()
    assert signing_key(Secret(f"{text[:7]}-{text[7:]}_Q")) == bytes(33)
    assert signing_key(Secret(f"{text}QUI")) == bytes(33)


def test_padding_within_the_secret_is_refused() -> None:
    with pytest.raises(Refused, match="not base64"):
        signing_key(Secret("QUI=" * 20))
