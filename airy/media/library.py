"""Receives files and stores them: the one way in, for uploads of clients and for attachments fetched from providers.

A file is first kept in memory and, if it is large, in a temporary file without a name, because its key is the hash of
all its bytes; only a complete and accepted one is put into the storage. So whatever ends early leaves nothing behind.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1
from pathlib import Path
from typing import BinaryIO, cast

from anyio import to_thread
from msgspec import Struct

from airy.clock import Clock
from airy.errors import DiskFull, Refused, Unavailable
from airy.media import file_name
from airy.media.media_type import HEAD_BYTES, is_inline, matches, media_type
from airy.media.signed_url import SignedUrls
from airy.media.storage import MediaStorage, ObjectPart
from airy.model import ids

MEMORY_BYTES_MAX = 262_144  # of a file that is received; the rest of a larger one is on disk
DESCRIPTIONS_MAX = 10_000  # of stored files, kept in memory: about 200 bytes each


class FileTooLarge(Refused):
    """The file is over the limit."""


class TypeNotAccepted(Refused):
    """The configuration does not accept files of this type."""


class MediaLimits(Struct, frozen=True, kw_only=True):
    bytes_max: int = 26_214_400
    types: tuple[str, ...] = ("*/*",)
    files_at_once_max: int = 16  # received at the same time, in this process


class StoredFile(Struct, frozen=True):
    name: str
    url: str
    media_type: str
    size: int


class Description(Struct, frozen=True):
    """What is known of a stored file. It never changes, because the name is the hash of the bytes."""

    size: int
    media_type: str


class MediaLibrary:
    """`prefix`: of keys in the storage. `public_base`: where the storage itself serves files to the public, if it does.

    `problem`: why the storage does not work, by the latest probe; empty if it does.
    """

    def __init__(
        self,
        storage: MediaStorage,
        urls: SignedUrls,
        clock: Clock,
        *,
        temporary: Path | None = None,
        prefix: str = "",
        public_base: str = "",
        limits: MediaLimits | None = None,
    ) -> None:
        self.limits = limits or MediaLimits()
        self.problem = ""
        self._storage = storage
        self._urls = urls
        self._clock = clock
        self._temporary = None if temporary is None else str(temporary)
        self._prefix = prefix
        self._public_base = public_base
        self._receiving = 0
        self._descriptions: dict[str, Description] = {}

    @asynccontextmanager
    async def receive(self, client_name: str) -> AsyncIterator["IncomingFile"]:
        """A file to write and then `store`. Raises `Unavailable` if too many are being received."""
        if self._receiving >= self.limits.files_at_once_max:
            raise Unavailable("too many files are being received at once", retry_after_s=1.0)
        self._receiving += 1
        try:
            with tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX, dir=self._temporary) as file:
                yield IncomingFile(self, cast("BinaryIO", file), file_name.extension(client_name))
        finally:
            self._receiving -= 1

    async def put(self, name: str, file: BinaryIO, description: Description) -> StoredFile:
        headers = {"Content-Type": description.media_type}
        if not is_inline(description.media_type):
            headers["Content-Disposition"] = "attachment"
        await self._storage.put(self._prefix + name, file, headers)
        return StoredFile(name, self.url(name), description.media_type, description.size)

    def url(self, name: str) -> str:
        if self._public_base:
            return f"{self._public_base}/{self._prefix}{name}"
        return self._urls.url(name, self._clock.now_ms())

    def is_own(self, url: str) -> bool:
        """Whether this is the address of a file that is stored here."""
        return url.startswith((self._urls.prefix, f"{self._public_base}/{self._prefix}" if self._public_base else "\0"))

    def is_signed(self, name: str, query: str) -> bool:
        return file_name.is_name(name) and self._urls.is_valid(name, query, self._clock.now_ms())

    async def describe(self, name: str) -> Description:
        """Raises `NotStored`, `Unavailable`."""
        known = self._descriptions.get(name)
        if known is None:
            async with self._storage.read(self._prefix + name, 0, HEAD_BYTES) as found:
                head = b"".join([part async for part in found.parts])
            known = Description(found.size, media_type(head, file_name.extension(name)))
            if len(self._descriptions) >= DESCRIPTIONS_MAX:
                self._descriptions.pop(next(iter(self._descriptions)))
            self._descriptions[name] = known
        return known

    @asynccontextmanager
    async def read(self, name: str, start: int, end: int) -> AsyncIterator[ObjectPart]:
        async with self._storage.read(self._prefix + name, start, end) as part:
            yield part

    async def probe(self) -> None:
        """Update `problem`."""
        try:
            await self._storage.probe()
        except (Unavailable, Refused) as error:
            self.problem = str(error)
        else:
            self.problem = ""


class IncomingFile:
    """A file that is being received."""

    def __init__(self, library: MediaLibrary, file: BinaryIO, extension: str) -> None:
        self._library = library
        self._file = file
        self._extension = extension
        self._hash = sha1(usedforsecurity=False)
        self._head = b""
        self.size = 0

    async def write(self, part: bytes) -> None:
        """Raises `FileTooLarge`, `DiskFull`."""
        limits = self._library.limits
        self.size += len(part)
        if self.size > limits.bytes_max:
            raise FileTooLarge(f"the file is over {limits.bytes_max} bytes", field="file")
        if len(self._head) < HEAD_BYTES:
            self._head += part[: HEAD_BYTES - len(self._head)]
        self._hash.update(part)
        try:
            if self.size <= MEMORY_BYTES_MAX:
                self._file.write(part)
            else:
                await to_thread.run_sync(self._file.write, part)
        except OSError as error:
            raise DiskFull("the file cannot be kept while it arrives: no space in the data directory") from error

    @property
    def media_type(self) -> str:
        """By what has been received."""
        return media_type(self._head, self._extension)

    async def store(self) -> StoredFile:
        """Raises `TypeNotAccepted`, `StorageRefusal`, `Unavailable`; `Refused` for an empty file."""
        kind = self.media_type
        if self.size == 0:
            raise Refused("the file is empty", field="file")
        if not matches(kind, self._library.limits.types):
            raise TypeNotAccepted(f"files of type {kind} are not accepted here", field="file")
        name = ids.from_sha1(self._hash.hexdigest()) + self._extension
        self._file.seek(0)
        return await self._library.put(name, self._file, Description(self.size, kind))
