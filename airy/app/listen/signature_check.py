"""Verifies a delivery as a receiver has to: Standard Webhooks, or the original's content signature. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from airy.webhooks import signing

AGE_S_MAX = 300

Verdict = Literal["valid", "invalid", "missing", "unchecked"]


class SignatureCheck(NamedTuple):
    verdict: Verdict
    reason: str = ""  # why it is invalid

    @property
    def genuine(self) -> bool:
        return self.verdict in ("valid", "unchecked")


class ReceiverSecrets(Struct, frozen=True):
    """Empty: nothing is checked."""

    keys: tuple[bytes, ...] = ()  # of Standard Webhooks
    content: tuple[str, ...] = ()  # signature keys of the original

    def __repr__(self) -> str:
        return f"ReceiverSecrets({len(self.keys)} keys, {len(self.content)} signature keys)"


def parse_secrets(texts: tuple[str, ...]) -> ReceiverSecrets:
    """`whsec_…` is a signing secret, any other text a `signature_key`. Raises `Refused` for a damaged `whsec_` text."""
    standard = [signing.secret_key(text) for text in texts if text.startswith(signing.PREFIX)]
    return ReceiverSecrets(tuple(standard), tuple(text for text in texts if not text.startswith(signing.PREFIX)))


def check(headers: Mapping[str, str], body: bytes, secrets: ReceiverSecrets, now_s: float) -> SignatureCheck:
    """`headers` with names in lower case. One match is enough, as during the rotation of a secret."""
    if not secrets.keys and not secrets.content:
        return SignatureCheck("unchecked")
    found = [name for name, known in _signatures(secrets) if known and name in headers]
    if not found:
        return SignatureCheck("missing")
    if secrets.content and _same(headers.get("x-airy-content-signature", ""), _content(secrets, body)):
        return SignatureCheck("valid")
    return _standard(headers, body, secrets, now_s)


def _signatures(secrets: ReceiverSecrets) -> tuple[tuple[str, bool], ...]:
    return ("webhook-signature", bool(secrets.keys)), ("x-airy-content-signature", bool(secrets.content))


def _content(secrets: ReceiverSecrets, body: bytes) -> list[str]:
    return [signing.content(key, body) for key in secrets.content]


def _standard(headers: Mapping[str, str], body: bytes, secrets: ReceiverSecrets, now_s: float) -> SignatureCheck:
    given, stamp = headers.get("webhook-signature", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or len(stamp) > 12:
        return SignatureCheck("invalid", "no signature matches" if not given else "webhook-timestamp is no number")
    expected = signing.standard(secrets.keys, headers.get("webhook-id", ""), int(stamp), body).split()
    if not any(_same(each, expected) for each in given.split()):
        return SignatureCheck("invalid", "no signature matches")
    age_s = now_s - int(stamp)
    if abs(age_s) > AGE_S_MAX:
        return SignatureCheck("invalid", f"its timestamp is {abs(age_s):.0f} s {'old' if age_s > 0 else 'ahead'}")
    return SignatureCheck("valid")


def _same(given: str, expected: list[str]) -> bool:
    return any(hmac.compare_digest(given.encode(), each.encode()) for each in expected)
