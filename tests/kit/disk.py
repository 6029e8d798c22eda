"""A disk that can lose power, fail and fill up, below SQLite. Writes reach the real file at once, so a running
journal notices nothing; what a power cut would leave behind is kept on the side: all that was synced, and of the
rest whatever chance lets through, whole or torn.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import apsw

SECTOR_BYTES = 512
Change = tuple[int, bytes | None]
"""Offset and bytes of a write; size and None of a truncation."""


class FileImage:
    """One file: its synced content, and writes that are not synced yet."""

    def __init__(self, content: bytes) -> None:
        self.synced = bytearray(content)
        self.pending: list[Change] = []
        self.syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        for change in self.pending:
            apply(self.synced, change)
        self.pending.clear()

    def after_power_loss(self, chance: Random) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.pending:
            if chance.random() < 0.5:
                continue
            if data is not None and chance.random() < 0.5:
                data = data[: chance.randrange(len(data) + 1) // SECTOR_BYTES * SECTOR_BYTES]  # noqa: PLW2901
            apply(content, (offset, data))
        return bytes(content)


def apply(content: bytearray, change: Change) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
    else:
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Registered by its constructor; `open_journal(..., vfs=disk.name)` writes to it."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.images: dict[str, FileImage] = {}
        self.failing_syncs = False
        self.full = False
        self.reads = 0
        self.steps = 0  # writes and syncs
        self._cut: tuple[int, Callable[[], None]] | None = None

    def xOpen(self, name: Any, flags: list[int]) -> "DiskFile":  # noqa: N802 - SQLite's name
        return DiskFile(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802
        super().xDelete(name, sync_directory)
        self.images.pop(name, None)

    def cut_at(self, step: int, then: Callable[[], None]) -> None:
        """Cut the power just before this write or sync; `then` checks what is left."""
        self._cut = (step, then)

    def step(self) -> None:
        if self._cut is not None and self._cut[0] == self.steps:
            self._cut[1]()
        self.steps += 1

    def syncs(self, suffix: str) -> int:
        return sum(image.syncs for name, image in self.images.items() if name.endswith(suffix))

    def power_loss(self, chance: Random, directory: Path) -> None:
        """The files after the power cut, in a new directory."""
        directory.mkdir()
        for name, image in self.images.items():
            if not name.endswith("-journal"):
                (directory / Path(name).name).write_bytes(image.after_power_loss(chance))


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if self._name not in disk.images:
            disk.images[self._name] = FileImage(Path(self._name).read_bytes())

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.reads += 1
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.step()
        if self._disk.full:
            raise apsw.FullError
        super().xWrite(data, offset)
        self._disk.images[self._name].pending.append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._disk.images[self._name].pending.append((size, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.step()
        if self._disk.failing_syncs:
            raise apsw.IOError
        super().xSync(flags)
        self._disk.images[self._name].sync()
