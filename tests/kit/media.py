"""A storage of files in memory, and a library over it, for tests on both event loops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from anyio.lowlevel import checkpoint

from airy.clock import Clock
from airy.errors import AiryError
from airy.media.library import MediaLibrary, MediaLimits
from airy.media.signed_url import SignedUrls
from airy.media.storage import NotStored, ObjectPart

BASE = "https://inbox.example.net"


class MemoryStorage:
    """Implements `MediaStorage`. `error` is raised by every call; `puts` are the keys that were put, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.puts: list[str] = []
        self.error: AiryError | None = None

    async def put(self, key: str, file: BinaryIO, headers: dict[str, str]) -> None:
        await self._reach()
        self.puts.append(key)
        self.objects[key] = file.read()
        self.headers[key] = headers

    @asynccontextmanager
    async def read(self, key: str, start: int, end: int) -> AsyncIterator[ObjectPart]:
        await self._reach()
        if key not in self.objects:
            raise NotStored("there is no such file")
        content = self.objects[key]
        yield ObjectPart(len(content), _parts(content[start:end]))

    async def probe(self) -> None:
        await self._reach()

    async def _reach(self) -> None:
        await checkpoint()
        if self.error is not None:
            raise self.error


async def _parts(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1_000):
        await checkpoint()
        yield content[start : start + 1_000]


def media_library(
    storage: MemoryStorage, clock: Clock, *, limits: MediaLimits | None = None, valid_s: int | None = None
) -> MediaLibrary:
    return MediaLibrary(
        storage, SignedUrls([bytes(32)], BASE, valid_s), clock, temporary=Path("/tmp"), prefix="files/", limits=limits
    )
