"""Object storage through obstore: a local directory or an S3-compatible bucket.

obstore's calls run on its own threads and are awaited on asyncio; cancelling one stops it. A put is atomic: the local
store writes beside the file and renames, a bucket shows an object when it is complete.
"""

import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import anyio
import obstore
import structlog
from msgspec import Struct
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, S3Store

from airy.egress import EgressPolicy, check_url, is_allowed
from airy.errors import Refused, Unavailable
from airy.media.storage import NotStored, ObjectPart, StorageRefusal
from airy.secret import Secret

if TYPE_CHECKING:
    from obstore.store import S3Config  # exists for type checkers only

PART_BYTES = 65_536  # of a file that is read
CALL_S = 120.0  # for one file of the largest size
READ_S = 30.0  # for the next bytes of a file that is read
PROBE_S = 5.0
CONNECT_S = 5.0
RETRIES_MAX = 2
RETRY_S = 20.0
PROBE_PREFIX = "airy-probe"  # no file has it

_REFUSED_CODES = re.compile(r"NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|PermanentRedirect")
_NOT_THERE = "there is no such file"

log = structlog.get_logger("airy.media")


class S3Bucket(Struct, frozen=True, kw_only=True):
    """`endpoint` None: Amazon's of the region. Without `access_key_id` the environment's credentials are used."""

    name: str
    region: str = "us-east-1"
    endpoint: str | None = None
    access_key_id: str = ""
    secret_access_key: Secret | None = None
    path_style: bool = True  # https://endpoint/bucket/key; otherwise https://bucket.endpoint/key
    private: bool = False  # whether the endpoint may be in a private network, and speak http


def local_storage(directory: Path) -> "ObjectStorage":
    """A directory that is created is readable by its owner only: its files are private, whatever their modes."""
    with suppress(OSError):  # the store reports it
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ObjectStorage(LocalStore(directory, mkdir=True, automatic_cleanup=False))


def bucket_storage(bucket: S3Bucket) -> "ObjectStorage":
    """Raises `Refused` with field `endpoint` for an address that the bucket's policy does not allow."""
    store = S3Store(
        bucket.name,
        client_options={
            "allow_http": bucket.private,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=CALL_S),
        },
        retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_S)},
        config=_config(bucket),
    )
    return ObjectStorage(store, bucket)


def _config(bucket: S3Bucket) -> "S3Config":
    config: S3Config = {"region": bucket.region, "virtual_hosted_style_request": not bucket.path_style}
    if bucket.secret_access_key is not None:
        config["access_key_id"] = bucket.access_key_id
        config["secret_access_key"] = bucket.secret_access_key.reveal()
    if bucket.endpoint is not None:
        try:
            check_url(bucket.endpoint, _policy(bucket))
        except Refused as error:
            raise Refused(str(error), field="endpoint") from error
        config["endpoint"] = bucket.endpoint
    return config


def _policy(bucket: S3Bucket) -> EgressPolicy:
    return EgressPolicy(ports=(), http=bucket.private, private=bucket.private)


class ObjectStorage:
    """Implements `MediaStorage`."""

    def __init__(self, store: ObjectStore, bucket: S3Bucket | None = None) -> None:
        self._store = store
        self._bucket = bucket

    async def put(self, key: str, file: BinaryIO, headers: dict[str, str]) -> None:
        attributes = None if isinstance(self._store, LocalStore) else headers
        with _translated(key), anyio.fail_after(CALL_S):
            await self._check_address()
            await obstore.put_async(self._store, key, file, attributes=attributes)

    @asynccontextmanager
    async def read(self, key: str, start: int, end: int) -> AsyncIterator[ObjectPart]:
        with _translated(key), anyio.fail_after(READ_S):
            await self._check_address()
            found = await obstore.get_async(self._store, key, options={"range": (start, end)})
        yield ObjectPart(found.meta["size"], _parts(key, found))

    async def probe(self) -> None:
        with _translated(PROBE_PREFIX), anyio.fail_after(PROBE_S):
            await self._check_address()
            await obstore.list_with_delimiter_async(self._store, PROBE_PREFIX)

    async def _check_address(self) -> None:
        """Raises `StorageRefusal` if the endpoint's name now stands for an address of a private network."""
        if self._bucket is None or self._bucket.endpoint is None or self._bucket.private:
            return
        target = check_url(self._bucket.endpoint, _policy(self._bucket))
        found = await anyio.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        if not all(is_allowed(str(address[0])) for *_, address in found):
            raise StorageRefusal("the endpoint of the storage is in a private network: media.s3.allowPrivateAddresses")


async def _parts(key: str, found: "obstore.GetResult") -> AsyncIterator[bytes]:
    stream = found.stream(min_chunk_size=PART_BYTES).__aiter__()
    while True:
        with _translated(key), anyio.fail_after(READ_S):
            try:
                part = await stream.__anext__()
            except StopAsyncIteration:
                return
        yield part


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Errors of obstore as ours. Their texts name addresses and paths, so they are logged and not given to callers."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _refusal(key, error) from error
        raise NotStored(_NOT_THERE) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _refusal(key, error) from error
    except (BaseError, OSError) as error:  # `OSError`: time-outs, and names that cannot be resolved
        if _REFUSED_CODES.search(str(error)):
            raise _refusal(key, error) from error
        log.warning("media.storage_unavailable", key=key, reason=_first_line(error))
        raise Unavailable("the storage of files is unavailable", retry_after_s=5.0) from error


def _refusal(key: str, error: Exception) -> StorageRefusal:
    log.error("media.storage_refuses", key=key, reason=_first_line(error))
    return StorageRefusal("the storage rejects the file: an operator has to correct its bucket, credentials or rights")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]
