"""Hosts of files that store and behave: each address has a file, and answers that come before it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import anyio
from msgspec import Struct, field

from airy.egress import check_url
from airy.errors import Refused
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.media.attachment_download import origin

PART_BYTES = 8_192
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PAGE = b"<!doctype html><title>Log in</title>"


class Answer(Struct, frozen=True):
    """`takes_s` None: it never ends. `status` 0: no connection, 1: the response is lost."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    takes_s: float | None = 0.05


class FileHosts:
    """A `Downloader`. `public_only`: as a guarded client, it refuses addresses of private networks."""

    def __init__(self, *, public_only: bool = True) -> None:
        self.files: dict[str, Answer] = {}
        self.first: dict[str, list[Answer]] = {}  # by address: what is answered before
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.in_flight = Counter[str]()  # by origin
        self.in_flight_max = Counter[str]()
        self._public_only = public_only

    def count(self, url: str) -> int:
        return self.requests.count(url)

    async def download(
        self,
        url: str,
        into: Callable[[bytes], Awaitable[None]],
        *,
        headers: Mapping[str, str] = {},
        connect_s: float = 5.0,
        total_s: float = 60.0,
    ) -> Response:
        if self._public_only:
            try:
                check_url(url)
            except Refused as error:
                raise AddressBlocked(f"not called: {error}", field="url") from error
        self.requests.append(url)
        self.headers.append(headers)
        host = origin(url)
        self.in_flight[host] += 1
        self.in_flight_max[host] = max(self.in_flight_max[host], self.in_flight[host])
        try:
            return await self._answer(url, into, connect_s, total_s)
        finally:
            self.in_flight[host] -= 1

    async def _answer(
        self, url: str, into: Callable[[bytes], Awaitable[None]], connect_s: float, total_s: float
    ) -> Response:
        before = self.first.get(url)
        answer = before.pop(0) if before else self.files.get(url, Answer(404))
        if answer.status == 0:
            await anyio.sleep(connect_s)
            raise ConnectFailed("the connection failed")
        if answer.status == 1 or answer.takes_s is None or answer.takes_s > total_s:
            await anyio.sleep(total_s)
            raise ResponseLost("time-out: the answer did not end")
        await anyio.sleep(answer.takes_s)
        if not 200 <= answer.status < 300:
            return Response(answer.status, dict(answer.headers), answer.body)
        for start in range(0, len(answer.body), PART_BYTES):
            await into(answer.body[start : start + PART_BYTES])
        return Response(answer.status, dict(answer.headers), b"")
