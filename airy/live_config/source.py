"""Where the configuration of a process comes from, and how a changed one is kept: a file that is replaced at once, its
previous version beside it, and a file for each secret that was entered.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from airy import config_file
from airy.config import Config, data_directory
from airy.errors import Refused
from airy.secret import Secret

SECRETS_DIRECTORY = "secrets"  # below the data directory
PREVIOUS = ".previous"  # appended to the name of the file
_NEW = ".new"


class ConfigSource:
    """`path` None: no file was found, and the first change creates one in the working directory."""

    def __init__(
        self, path: Path | None, env: Mapping[str, str], *, warn: Callable[[str], object] = lambda _: None
    ) -> None:
        self.path = Path(config_file.FILE) if path is None else path
        self.env = env
        self._warn = warn
        self._warned: set[str] = set()
        self._named = path is not None

    def read(self) -> str | None:
        """The text of the file; None if there is none. Raises `InvalidConfig` if it cannot be read."""
        if not self._named and not self.path.exists():
            return None
        return config_file.read_text(self.path)

    def config_of(self, text: str | None, more: Mapping[str, str] = {}) -> Config:
        """The configuration of a text of this file. `more`: further variables. Raises `InvalidConfig`."""
        name = "(defaults)" if text is None else str(self.path)
        return config_file.load_text(text, name, {**self.env, **more}, warn=self._warn_once)

    def _warn_once(self, text: str) -> None:
        """Plans read the file again and again."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    def overridden(self) -> dict[str, str]:
        """The keys that the environment or an option sets, with the variable."""
        return config_file.overridden(self.env)

    def unwritable(self) -> str:
        """Why the file cannot be replaced; empty if it can."""
        path = _target(self.path)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            read_only = "is read-only" if path.parent.is_dir() else "does not exist"
            return f"{path.parent} {read_only}: change {self.path} where it comes from (a ConfigMap in a cluster)"
        if path.exists() and not os.access(path, os.W_OK):
            return f"{path} is read-only: change its permissions, or the file where it comes from"
        return ""

    def write(self, text: str, present: str | None, config: Config) -> None:
        """Replace the file at once and durably, and keep the present text beside it. Deletes secrets of neither.

        Raises `Refused` if the operating system does; the file is as it was then.
        """
        path = _target(self.path)
        try:
            if present is not None:
                _replace(path.with_name(path.name + PREVIOUS), present, path)
            _replace(path, text, path)
        except OSError as error:
            raise Refused(f"cannot replace {path}: {(error.strerror or str(error)).lower()}") from error
        self._prune_secrets(config, f"{present}\n{text}")

    def restore(self, text: str | None) -> None:
        """Put back what `read` returned before a change. Raises `OSError`."""
        path = _target(self.path)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            _replace(path, text, path)

    def keep_secret(self, config: Config, path: str, secret: Secret) -> str:
        """Keep a secret in a file of its own, readable by its owner; the reference that stands for it.

        Each has a new file, so the previous version of the configuration still has the previous one.
        """
        directory = data_directory(config) / SECRETS_DIRECTORY
        file = directory / f"{path}-{secrets.token_hex(4)}"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(file, secret.reveal(), 0o600)
            _sync_directory(directory)
        except OSError as error:
            raise Refused(f"cannot keep the secret in {directory}: {(error.strerror or str(error)).lower()}") from error
        return f"file:{file}"

    def _prune_secrets(self, config: Config, texts: str) -> None:
        directory = data_directory(config) / SECRETS_DIRECTORY
        for file in directory.iterdir() if directory.is_dir() else ():
            if re.fullmatch(r".+-[0-9a-f]{8}", file.name) and file.name not in texts:
                with suppress(OSError):  # tidying only: the next change tries again
                    file.unlink()


def fingerprint(running: str | None, stored: str | None) -> str:
    """Of the configuration that runs and the one in the file: a plan holds for both."""
    parts = (b"\0" if text is None else b"\1" + text.encode() for text in (running, stored))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]


def _target(path: Path) -> Path:
    """What a symbolic link leads to: the link itself stays."""
    return path.resolve()


def _replace(path: Path, text: str, like: Path) -> None:
    """Write beside it, then rename: a crash leaves the old file or the new one. The mode is that of `like`."""
    new = path.with_name(f".{path.name}{_NEW}")
    mode = like.stat().st_mode & 0o777 if like.exists() else 0o600
    new.unlink(missing_ok=True)
    _write(new, text, mode)
    new.replace(path)
    _sync_directory(path.parent)


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
