"""Downloads of attachments over real HTTP from a hostile host, into both storages."""

from pathlib import Path

import pytest

from airy.clock import SystemClock
from airy.egress import UNRESTRICTED, EgressPolicy
from airy.errors import AiryError, Unavailable
from airy.http_client import AddressBlocked, ResponseLost
from airy.http_client_aiohttp import AiohttpClient
from airy.media.attachment import Attachment
from airy.media.attachment_download import AttachmentDownloads, NotGiven, StorageDown, origin
from airy.media.library import FileTooLarge, MediaLibrary, MediaLimits, TypeNotAccepted
from airy.media.object_storage import bucket_storage
from airy.media.signed_url import SignedUrls
from airy.media.storage import MediaStorage
from airy.secret import Secret
from airy.sources.api import Call
from tests.kit import s3
from tests.kit.file_hosts import PNG
from tests.kit.hostile_host import PHOTO, HostileHost
from tests.media.test_object_storage import opened, settings

pytestmark = [pytest.mark.timeout(60), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

LOOPBACK = EgressPolicy(ports=(), http=True, private=True)  # what a developer allows; never link-local addresses
NO_LOOPBACK = EgressPolicy(ports=(), http=True)
LIMITS = MediaLimits(bytes_max=1_000_000)


async def fetched(
    host: HostileHost,
    name: str,
    storage: MediaStorage,
    directory: Path,
    *,
    policy: EgressPolicy = LOOPBACK,
    api: str = "",
) -> bytes:
    """The stored bytes of the image `name`. `api`: an address of the configuration."""
    urls = SignedUrls([bytes(32)], "http://here")
    library = MediaLibrary(storage, urls, SystemClock(), temporary=directory, limits=LIMITS)
    url = f"{host.url}/{name}"
    async with AiohttpClient(policy) as guarded, AiohttpClient(UNRESTRICTED) as configured:
        downloads = AttachmentDownloads(library, guarded=guarded, configured=configured, total_s=1.0)
        attachment = Attachment(nth=0, reference=url, url=url, kind="image")
        stored = await downloads.fetch(attachment, Call("GET", Secret(url), {}), {origin(api)})
    async with library.read(stored.name, 0, 1 << 30) as found:
        return b"".join([part async for part in found.parts])


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_a_file_is_streamed_into_the_storage_also_after_a_redirect_and_a_503(kind: str, tmp_path: Path) -> None:
    async with HostileHost().serving() as host, opened(kind, tmp_path / "media") as storage:
        assert await fetched(host, "photo.png", storage, tmp_path) == PHOTO
        assert await fetched(host, "moved.png", storage, tmp_path) == PHOTO
        with pytest.raises(Unavailable) as unavailable:
            await fetched(host, "flaky.png", storage, tmp_path)
        assert unavailable.value.retry_after_s == 1.0
        assert await fetched(host, "flaky.png", storage, tmp_path) == PNG


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("metadata", AddressBlocked),
        ("slow", ResponseLost),
        ("endless", FileTooLarge),
        ("login.png", TypeNotAccepted),
        ("gone.png", NotGiven),
    ],
)
async def test_a_trap_costs_a_bounded_time_and_leaves_nothing(
    name: str, error: type[AiryError], tmp_path: Path
) -> None:
    directory = tmp_path / "media"
    async with HostileHost().serving() as host, opened("local", directory) as storage:
        with pytest.raises(error):
            await fetched(host, name, storage, tmp_path)
        assert host.sent_bytes < 16_000_000  # what sockets hold, at most
    assert list(directory.iterdir()) == []


async def test_loopback_is_for_the_addresses_of_the_configuration_only(tmp_path: Path) -> None:
    async with HostileHost().serving() as api, HostileHost().serving() as other, opened("memory", tmp_path) as storage:
        assert await fetched(api, "photo.png", storage, tmp_path, policy=NO_LOOPBACK, api=api.url) == PHOTO
        with pytest.raises(AddressBlocked):
            await fetched(other, "photo.png", storage, tmp_path, policy=NO_LOOPBACK, api=api.url)
    assert not other.requests


async def test_a_bucket_that_refuses_is_no_failure_of_the_host(tmp_path: Path) -> None:
    bucket = s3.Bucket()
    async with HostileHost().serving() as host, s3.serving(bucket) as endpoint:
        bucket.failing = 403
        with pytest.raises(StorageDown):
            await fetched(host, "photo.png", bucket_storage(settings(endpoint)), tmp_path)
