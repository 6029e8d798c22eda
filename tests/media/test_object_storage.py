"""The storage of files: one contract over a local directory and over a bucket, both real."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import anyio
import pytest

from airy.errors import Refused, Unavailable
from airy.media.object_storage import ObjectStorage, S3Bucket, bucket_storage, local_storage
from airy.media.storage import MediaStorage, NotStored, StorageRefusal
from airy.secret import Secret
from tests.kit import s3
from tests.kit.media import MemoryStorage

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # sockets and threads of obstore

LARGE = os.urandom(12_000_000)  # over the size from which it is sent in parts


def settings(endpoint: str, **changes: object) -> S3Bucket:
    given = {"name": s3.BUCKET, "access_key_id": s3.KEY_ID, "secret_access_key": Secret(s3.SECRET), "private": True}
    return S3Bucket(endpoint=endpoint, **{**given, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def opened(kind: str, directory: Path) -> AsyncIterator[MediaStorage]:
    if kind == "memory":
        yield MemoryStorage()
    elif kind == "local":
        yield local_storage(directory)
    else:
        async with s3.serving(s3.Bucket()) as endpoint:
            yield bucket_storage(settings(endpoint))


async def content(storage: MediaStorage, key: str, start: int = 0, end: int = 1 << 30) -> tuple[int, bytes]:
    async with storage.read(key, start, end) as found:
        return found.size, b"".join([part async for part in found.parts])


@pytest.mark.parametrize("kind", ["local", "s3", "memory"])
async def test_a_stored_file_is_read_whole_and_in_ranges_and_another_replaces_it(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as storage:
        with pytest.raises(NotStored):
            await content(storage, "a/one.png")
        await storage.put("a/one.png", BytesIO(LARGE), {"Content-Type": "image/png"})
        assert await content(storage, "a/one.png") == (len(LARGE), LARGE)
        assert await content(storage, "a/one.png", 5, 10) == (len(LARGE), LARGE[5:10])
        assert await content(storage, "a/one.png", len(LARGE) - 3, 1 << 30) == (len(LARGE), LARGE[-3:])
        await storage.put("a/one.png", BytesIO(b"short"), {})
        assert await content(storage, "a/one.png") == (5, b"short")
        await storage.probe()


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_no_key_leads_out_of_the_storage(kind: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of another directory")
    async with opened(kind, tmp_path / "media") as storage:
        for key in ("../secret", "a/../../secret", str(tmp_path / "secret")):
            with pytest.raises((NotStored, StorageRefusal, ValueError)):
                await content(storage, key)


async def test_an_interrupted_put_leaves_nothing_in_a_directory(tmp_path: Path) -> None:
    storage = local_storage(tmp_path)

    class Cut(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 6_000_000:
                raise OSError("the disk is gone")
            return super().read(size)

    with pytest.raises((Unavailable, OSError)):
        await storage.put("a.bin", Cut(LARGE), {})
    with anyio.move_on_after(0.001):
        await storage.put("b.bin", BytesIO(LARGE), {})
    await anyio.sleep(0.2)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] in ([], [tmp_path / "b.bin"])


async def test_an_interrupted_put_leaves_nothing_in_a_bucket() -> None:
    bucket = s3.Bucket()
    async with s3.serving(bucket) as endpoint:
        bucket.failing_part = 2
        with pytest.raises(StorageRefusal):
            await bucket_storage(settings(endpoint)).put("a.bin", BytesIO(LARGE), {})
        with anyio.move_on_after(5):
            while bucket.uploads:
                await anyio.sleep(0.01)
    assert (bucket.objects, bucket.uploads) == ({}, {})


async def test_what_is_wrong_with_a_bucket_is_temporary_or_for_an_operator() -> None:
    bucket = s3.Bucket()
    async with s3.serving(bucket) as endpoint:
        storage = bucket_storage(settings(endpoint))
        bucket.failing = 503
        for call in (storage.probe(), storage.put("a", BytesIO(b"x"), {}), content(storage, "a")):
            with pytest.raises(Unavailable):
                await call
        bucket.failing = None
        await storage.probe()
        for wrong in ({"name": "another"}, {"access_key_id": "unknown"}):
            rejected = bucket_storage(settings(endpoint, **wrong))
            for call in (rejected.probe(), rejected.put("a", BytesIO(b"x"), {})):
                with pytest.raises(StorageRefusal) as raised:
                    await call
                assert s3.SECRET not in str(raised.value)
    with pytest.raises(Unavailable):
        await storage.probe()


async def test_types_are_stored_with_the_objects_of_a_bucket() -> None:
    bucket = s3.Bucket()
    async with s3.serving(bucket) as endpoint:
        headers = {"Content-Type": "text/html", "Content-Disposition": "attachment"}
        await bucket_storage(settings(endpoint)).put("a.html", BytesIO(b"<html>"), headers)
    assert bucket.headers["a.html"] == {"content-type": "text/html", "content-disposition": "attachment"}


HOSTS = ("http://storage.example.org", "https://127.0.0.1", "https://169.254.169.254", "https://minio.internal")


@pytest.mark.parametrize("endpoint", HOSTS)
async def test_the_endpoint_of_a_bucket_is_public_and_uses_tls_unless_configured(endpoint: str) -> None:
    with pytest.raises(Refused):
        bucket_storage(settings(endpoint, private=False))


async def test_a_public_name_of_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("10.1.2.3", 443))]

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    storage = bucket_storage(settings("https://storage.example.org", private=False))
    assert isinstance(storage, ObjectStorage)
    with pytest.raises(StorageRefusal):
        await storage.put("a", BytesIO(b"x"), {})


async def test_a_directory_that_is_created_is_its_owners_and_one_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o750)
    for directory, mode in ((tmp_path / "new" / "media", 0o700), (shared, 0o750)):
        await local_storage(directory).probe()
        assert directory.stat().st_mode & 0o777 == mode
