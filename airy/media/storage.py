"""The port to object storage: files by key, written whole or not at all."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

from msgspec import Struct

from airy.errors import Refused


class NotStored(Refused):
    """No file has that key."""


class StorageRefusal(Refused):
    """The storage is reached and rejects the request: its credentials, permissions or bucket are wrong."""


class ObjectPart(Struct, frozen=True):
    """Bytes of a file. `size` is that of the whole file; `parts` ends with the end of the requested range."""

    size: int
    parts: AsyncIterator[bytes]


class MediaStorage(Protocol):
    """Every call raises `Unavailable` while the storage cannot be reached, and `StorageRefusal`."""

    async def put(self, key: str, file: BinaryIO, headers: dict[str, str]) -> None:
        """Store everything from the start of `file`. `headers`: `Content-Type` and others, where the storage has
        them. A file of the same key is replaced. After an error or a cancellation there is none, or the former one.
        """
        ...

    def read(self, key: str, start: int, end: int) -> AbstractAsyncContextManager[ObjectPart]:
        """The bytes from `start` up to `end`, which may lie behind the end of the file. Raises `NotStored`."""
        ...

    async def probe(self) -> None:
        """Return if the storage answers."""
        ...
