"""The service account of a simulated Google: the JSON key as Google issues one, and what Google knows of it."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Struct

from airy.errors import Refused

EMAIL = "corner-bakery@simulated-project.iam.gserviceaccount.com"
KEY_BITS = 2048
FILE_MODE = 0o600
FILE_BYTES_MAX = 65_536


class KnownServiceAccount(Struct, frozen=True):
    email: str
    key_id: str
    public_key: RSAPublicKey


@cache
def made() -> str:
    """A JSON key in one line, the same one at every call in a process."""
    key = generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    document = {
        "type": "service_account",
        "project_id": "simulated-project",
        "private_key_id": "0b3d7c1e5f2a4d6898c1a7e3f5b2d4c6a8e0f1d3",
        "private_key": pem,
        "client_email": EMAIL,
        "client_id": "100000000000000000001",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return msgspec.json.encode(document).decode()


def kept(path: Path) -> str:
    """The JSON key in a file; the file is made if there is none. Raises `Refused`."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return _written(path, made())
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read {path}: {error}", field="service_account") from error


def known(key: str) -> KnownServiceAccount:
    """Raises `Refused`."""
    try:
        document: Any = msgspec.json.decode(key)
        private = load_pem_private_key(document["private_key"].encode(), None)
        public = private.public_key()
        email, key_id = document["client_email"], document.get("private_key_id", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = f"the service account's key cannot be read: {type(error).__name__}"
        raise Refused(message, field="service_account") from error
    if not isinstance(public, RSAPublicKey):
        raise Refused("the service account's key is no RSA key", field="service_account")
    return KnownServiceAccount(str(email), str(key_id), public)


def _written(path: Path, key: str) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{key}\n")
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}", field="service_account") from error
    return key
