"""One process per directory: an flock that ends with its process, so a crash never leaves it behind."""

import fcntl
import os
from pathlib import Path

from airy.errors import Refused


class InUse(Refused):
    """Another process has the directory open."""


class FileLock:
    """Held from construction until `release`. The file stays: removing it would race with the next process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            message = f"{path.parent} is in use by process {holder}: stop it, or choose another directory"
            raise InUse(message) from None
        except OSError as error:
            os.close(self._descriptor)
            raise Refused(f"{path.parent} cannot be locked ({error}): choose a local disk") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
