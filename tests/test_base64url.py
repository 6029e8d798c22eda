"""Base64 of URLs: every byte string comes back, and what is no base64 is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy import base64url


@given(st.binary(max_size=64))
def test_bytes_come_back(data: bytes) -> None:
    encoded = base64url.encode(data)

    assert "=" not in encoded
    assert base64url.decode(encoded.encode()) == data


@pytest.mark.parametrize("text", [b"A", b"AA AA", b"AAA!", b"AA=A", b"\xff\xff"])
def test_what_is_no_base64_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url.decode(text)
