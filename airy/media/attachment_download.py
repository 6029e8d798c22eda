"""Downloads one attachment and stores it.

An address comes from a provider's webhook or answer, so it is guarded as an address of a stranger: https and public
networks only, checked at each socket, and each redirect anew. Addresses that the configuration of the source itself
names (its API) are exempt. Credentials go to the origin of the first call and to no other.

The type of an error decides: `Unavailable` is worth another attempt, `NotGiven` only a few, `StorageDown` as many as it
takes; `Refused` is final.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from urllib.parse import urljoin, urlsplit

import anyio

from airy.errors import DiskFull, Refused, Unavailable
from airy.http_client import Downloader, Response
from airy.media.attachment import Attachment
from airy.media.library import FileTooLarge, IncomingFile, MediaLibrary, StoredFile, TypeNotAccepted
from airy.media.storage import StorageRefusal
from airy.sources.api import Call

REDIRECTS_MAX = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
WORTH_ANOTHER_ATTEMPT = frozenset({408, 425, 429})
HTTP_PORTS = {"https": 443, "http": 80}


class NotGiven(Unavailable):
    """The host answers that there is no such file, or that it is not for us."""


class StorageDown(Unavailable):
    """The file arrived, or would have, and the storage did not take it."""


class AttachmentDownloads:
    """`guarded` refuses private networks; `configured` does not, and is used for origins of the configuration only."""

    def __init__(
        self, library: MediaLibrary, *, guarded: Downloader, configured: Downloader, total_s: float = 60.0
    ) -> None:
        self._library = library
        self._guarded = guarded
        self._configured = configured
        self._total_s = total_s

    @property
    def bytes_max(self) -> int:
        return self._library.limits.bytes_max

    async def fetch(self, attachment: Attachment, call: Call, origins: Collection[str]) -> StoredFile:
        """`origins`: those that the configuration of the source names."""
        if attachment.size is not None and attachment.size > self.bytes_max:
            raise FileTooLarge(f"the file has {attachment.size} bytes, and {self.bytes_max} are fetched at most")
        async with self._library.receive(attachment.client_name) as incoming:
            digest = sha256()

            async def write(part: bytes) -> None:
                digest.update(part)
                try:
                    await incoming.write(part)
                except DiskFull as error:
                    raise StorageDown(str(error)) from error

            await self._download(call, write, origins)
            _check_digest(attachment.sha256, digest.digest())
            if not attachment.fits(incoming.media_type):
                raise TypeNotAccepted(f"it is called {attachment.kind}, and the file is {incoming.media_type}")
            return await _store(incoming)

    async def _download(self, call: Call, write: Callable[[bytes], Awaitable[None]], origins: Collection[str]) -> None:
        url, headers = call.url.reveal(), {name: value.reveal() for name, value in call.headers.items()}
        ends_at = anyio.current_time() + self._total_s
        for _ in range(REDIRECTS_MAX + 1):
            client = self._configured if origin(url) in origins else self._guarded
            left_s = max(0.001, ends_at - anyio.current_time())
            answer = await client.download(url, write, headers=headers, total_s=left_s)
            if 200 <= answer.status < 300:
                return
            url, former = _next_address(answer, url), url
            if origin(url) != origin(former):
                headers = {}
        raise Refused(f"more than {REDIRECTS_MAX} redirects")


def origin(url: str) -> str:
    """`https://host:443`, whatever the spelling; empty for what is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or HTTP_PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}" if parts.hostname else ""


def _next_address(answer: Response, url: str) -> str:
    """Where a redirect leads. Raises for every other answer."""
    if answer.status in REDIRECTS:
        try:
            return urljoin(url, answer.headers["location"])
        except (KeyError, ValueError) as error:
            raise Refused("the redirect leads nowhere") from error
    problem = f"the host answers {answer.status}"
    if answer.status >= 500 or answer.status in WORTH_ANOTHER_ATTEMPT:
        raise Unavailable(problem, retry_after_s=answer.retry_after_s())
    raise NotGiven(problem)


def _check_digest(wanted: str, found: bytes) -> None:
    if wanted and wanted not in {found.hex(), b64encode(found).decode()}:
        raise Unavailable("the file does not have the digest that the provider announced")


async def _store(incoming: IncomingFile) -> StoredFile:
    try:
        return await incoming.store()
    except (StorageRefusal, Unavailable) as error:
        raise StorageDown(str(error), retry_after_s=getattr(error, "retry_after_s", None)) from error
