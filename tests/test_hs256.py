"""JWTs from outside: nothing but a valid one is a token, and nothing raises."""

from base64 import urlsafe_b64encode
from random import Random

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey

from airy import hs256

KEY = OctKey.import_key(bytes(32), {"kid": "k1"})
KEYS = (KEY, KeySet([OctKey.import_key(bytes(range(32)), {"kid": "k2"}), KEY]))
TOKEN = jwt.encode({"alg": "HS256", "kid": "k1"}, {"sub": "c"}, KEY)

HEADERS: list[object] = [
    [],
    None,
    "x",
    {},
    {"alg": 1},
    {"alg": ["HS256"]},
    {"alg": "none"},
    {"alg": "HS512", "kid": "k1"},
    {"alg": "HS256", "kid": 3},
    {"alg": "HS256", "kid": []},
    {"alg": "HS256", "kid": "k1", "crit": 1},
    {"alg": "HS256", "kid": "k1", "crit": ["x"]},
    {"alg": "HS256", "kid": "k1", "b64": False, "crit": ["b64"]},
]


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else msgspec.json.encode(part)
    return urlsafe_b64encode(text).decode().rstrip("=")


def test_a_signed_token_is_read_with_a_key_or_a_set_of_keys() -> None:
    for key in KEYS:
        token = hs256.decode(TOKEN, key)
        assert token is not None
        assert token.claims == {"sub": "c"}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_another_shape_makes_no_token(header: object) -> None:
    _, claims, signature = TOKEN.split(".")
    for key in KEYS:
        for middle in (claims, encoded([]), encoded(b"\xff"), "", "%%"):
            for end in (signature, "", "%%", "\0"):
                assert hs256.decode(f"{encoded(header)}.{middle}.{end}", key) is None


def test_a_token_with_any_other_characters_is_no_token() -> None:
    random = Random(1)
    for _ in range(1_000):
        changed = list(TOKEN)
        changed[random.randrange(len(changed) - 1)] = chr(random.choice((random.randrange(32, 127), 0x2FFF)))
        if "".join(changed) != TOKEN:
            assert hs256.decode("".join(changed), KEY) is None
