"""A `Downloader` over an `HttpClient` without sockets: the body arrives as one part."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from airy.http_client import HttpClient, Response

BYTES_MAX = 1 << 30


class WholeBodies:
    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def download(
        self,
        url: str,
        into: Callable[[bytes], Awaitable[None]],
        *,
        headers: Mapping[str, str] = {},
        connect_s: float = 5.0,
        total_s: float = 60.0,
    ) -> Response:
        answer = await self._http(
            "GET", url, headers=headers, connect_s=connect_s, total_s=total_s, body_bytes_max=BYTES_MAX
        )
        if not 200 <= answer.status < 300:
            return answer
        await into(answer.body)
        return replace(answer, body=b"")
