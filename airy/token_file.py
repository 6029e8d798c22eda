"""The API token of an installation: configured, or generated once into the data directory."""

import os
import secrets
from pathlib import Path

from airy.config import Config, data_directory
from airy.errors import Refused
from airy.secret import Secret

TOKEN_FILE = "system-token"  # noqa: S105 - a file's name


class ReadableByOthers(Refused):
    """A file with a secret whose mode lets others read it."""


def system_token(config: Config) -> Secret | None:
    """The configured token, or the one generated in the data directory; None if authentication is off."""
    if config.security.open:
        return None
    if config.security.system_token:
        return config.security.system_token
    return _read_or_generate(data_directory(config) / TOKEN_FILE)


def _read_or_generate(path: Path) -> Secret:
    """Read or create the token file, with mode 0600 from the start; one of two racing processes wins."""
    try:
        return read_token(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")  # never from a seeded source
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass  # another process created it first
    finally:
        temporary.unlink()
    return read_token(path)


def read_token(path: Path) -> Secret:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ReadableByOthers(f"{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")
    token = entered_token(path.read_text("utf-8", "replace"), str(path))
    if not token:
        raise Refused(f"{path} is empty: remove it to generate a new token")
    return token


def entered_token(text: str, origin: str) -> Secret:
    """Raises `Refused` for invisible characters, without the text."""
    try:
        return Secret.entered(text)
    except ValueError as error:
        raise Refused(f"{origin} {error}") from error
