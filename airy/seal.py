"""Sealing: encryption of stored secrets, bound to the field they are stored in.

AES-256-GCM with a random 96-bit nonce. The context (topic, entity, field) is authenticated, so text moved to another
field does not unseal. The key id is part of the text: after a new key is put first, old texts still unseal. One key may
seal 2³² texts. Tokens that are only compared are not sealed.
"""

import os
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from airy.errors import Refused

VERSION = "s1"
NONCE_BYTES = 12
KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
SEALED = re.compile(rf"{VERSION}\.{KEY_ID.pattern}\.[A-Za-z0-9_-]{{38,}}=*")  # nonce and tag alone have 38 characters


def seal_context(topic: str, entity_id: str, field: str) -> str:
    """The authenticated context of a sealed field. Parts are escaped, so that two fields never share a context."""
    return "|".join(quote(part, safe="") for part in (topic, entity_id, field))


class Sealer:
    """The first key seals; every key unseals."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise Refused("no sealing key: pass at least one")
        for key_id, key in keys.items():
            if not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise Refused(f"sealing key {key_id[:32]!r}: give it an id like k1 and {KEY_BYTES} bytes")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._keys = tuple(keys.values())
        self._current = next(iter(keys))

    def __repr__(self) -> str:
        return f"Sealer(keys={list(self._ciphers)})"

    def seal(self, text: str, context: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, text.encode(), context.encode())
        return f"{VERSION}.{self._current}.{urlsafe_b64encode(nonce + sealed).decode()}"

    def signing_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Keys derived for one purpose, the current one first: they open nothing that is sealed."""
        return tuple(HKDFExpand(SHA256(), KEY_BYTES, purpose.encode()).derive(key) for key in self._keys)

    def unseal(self, sealed: str, context: str) -> str:
        """Raises `Refused`, without any of the content, for damaged or moved text and for an unknown key."""
        version, key_id, data = _parts(sealed)
        cipher = self._ciphers.get(key_id)
        if version != VERSION or cipher is None:
            raise Refused(f"sealed with key {key_id[:32]!r}: add it to the key file")
        try:
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Refused("sealed text was changed or moved to another field: set the secret again") from error


def _parts(sealed: str) -> tuple[str, str, bytes]:
    version, _, rest = sealed.partition(".")
    key_id, _, text = rest.partition(".")
    try:
        return version, key_id, _decode(text)
    except ValueError as error:
        raise Refused("not sealed text: set the secret again") from error


def _decode(text: str) -> bytes:
    return b64decode(text.encode("ascii"), altchars=b"-_", validate=True)


def load_or_create_key(path: Path) -> dict[str, bytes]:
    """The keys of a file, one `id base64` per line, the sealing key first; a missing file is created with a new key.

    Raises `Refused` for a file that others can read, or with any other content.
    """
    if not path.exists():
        _create(path)
    if path.stat().st_mode & 0o077:
        raise Refused(f"{path} can be read by others: chmod 600 {path}")
    keys: dict[str, bytes] = {}
    for number, line in enumerate(path.read_text("ascii", "replace").splitlines(), start=1):
        key_id, _, text = line.strip().partition(" ")
        if not key_id:
            continue
        try:
            keys[key_id] = _decode(text)
        except ValueError as error:
            raise Refused(f"{path}:{number} is not a key: expected an id, a space and base64") from error
    if not keys:
        raise Refused(f"{path} holds no key: restore it, or remove it to start with a new one")
    return keys


def _create(path: Path) -> None:
    """Writes a temporary file and links it to `path`: no partial key is visible, and one of two creators wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            key = AESGCM.generate_key(KEY_BYTES * 8)
            file.write(b"k1 " + urlsafe_b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        temporary.unlink()
