"""Events of an instance over its websocket."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from airy.api_client import RequestRefused
from airy.errors import Unavailable
from airy.http_client_errors import connect_problem
from airy.secret import Secret

OPEN_S = 10.0
SILENCE_S = 60.0  # the instance pings every 20 s
EVENT_BYTES_MAX = 16_777_216
REFUSALS = frozenset({400, 401, 403, 404})


class WebsocketSource:
    """`scope`: parameters of `/events` by name, such as `kind`; empty: all events."""

    def __init__(self, url: str, token: Secret | None, scope: Mapping[str, Sequence[str]] | None = None) -> None:
        self._scope = [(name, value) for name, values in (scope or {}).items() for value in values]
        self._url = f"{url.rstrip('/')}/events"
        self._headers = {"authorization": f"Bearer {token.reveal()}"} if token else {}

    @asynccontextmanager
    async def open(self, resume: str | None) -> AsyncIterator[AsyncIterator[bytes]]:
        timeout = aiohttp.ClientTimeout(total=None, connect=OPEN_S)
        parameters = [*self._scope, *([("resume", resume)] if resume else [])]
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.ws_connect(
                    self._url,
                    params=parameters,
                    headers=self._headers,
                    heartbeat=SILENCE_S,
                    max_msg_size=EVENT_BYTES_MAX,
                ) as socket,
            ):
                yield _texts(socket)
        except aiohttp.WSServerHandshakeError as error:
            reason = f"/events answered {error.status}"
            if error.status == 400:  # aiohttp does not give the body of this answer
                reason += f": check {' and '.join(dict.fromkeys(name for name, _ in parameters))}"
            if error.status in {401, 403}:
                reason += ": the token is not valid, or has no permission for this"
            if error.status in REFUSALS:
                raise RequestRefused(reason, status=error.status) from error
            raise Unavailable(reason) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"/events: {connect_problem(error, OPEN_S)}") from error


async def _texts(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[bytes]:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            yield str(message.data).encode()
    if socket.close_code not in {None, 1000, 1001}:
        raise Unavailable(f"/events was closed with {socket.close_code}")
