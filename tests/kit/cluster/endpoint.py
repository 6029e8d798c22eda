"""A subscriber's endpoint that can be made to fail."""

from typing import Literal

import anyio
from aiohttp import web

from tests.kit.process import Subscriber

Mode = Literal["healthy", "down", "busy", "slow", "forgetful", "gone"]
FAILURE_MODES: tuple[Mode, ...] = ("down", "busy", "slow", "forgetful")
SLOW_S = 1.0


class FailingEndpoint(Subscriber):
    """`down`: 503, `busy`: 429, `gone`: 410; `slow` and `forgetful` accept, and respond late or never."""

    def __init__(self) -> None:
        super().__init__()
        self.mode: Mode = "healthy"

    async def _take(self, request: web.Request) -> web.Response:
        mode = self.mode
        match mode:
            case "down":
                return web.Response(status=503)
            case "busy":
                return web.Response(status=429, headers={"retry-after": "1"})
            case "gone":
                return web.Response(status=410)
            case "slow":
                await anyio.sleep(SLOW_S)  # real time: another process waits
        answer = await super()._take(request)
        if mode == "forgetful" and request.transport is not None:
            request.transport.abort()
        return answer
