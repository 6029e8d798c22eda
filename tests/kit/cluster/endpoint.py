"""A subscriber's endpoint that has its moods."""

from typing import Literal

import anyio
from aiohttp import web

from tests.kit.process import Subscriber

Mood = Literal["well", "down", "busy", "slow", "forgetful", "gone"]
BAD: tuple[Mood, ...] = ("down", "busy", "slow", "forgetful")
SLOW_S = 1.0


class Moody(Subscriber):
    """`down` is a 503, `busy` a 429, `gone` a 410; `slow` and `forgetful` take it, and answer late or never."""

    def __init__(self) -> None:
        super().__init__()
        self.mood: Mood = "well"

    async def _take(self, request: web.Request) -> web.Response:
        mood = self.mood
        match mood:
            case "down":
                return web.Response(status=503)
            case "busy":
                return web.Response(status=429, headers={"retry-after": "1"})
            case "gone":
                return web.Response(status=410)
            case "slow":
                await anyio.sleep(SLOW_S)  # the machine's clock: another process waits
        answer = await super()._take(request)
        if mood == "forgetful" and request.transport is not None:
            request.transport.abort()
        return answer
