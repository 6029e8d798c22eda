"""Probes, open to anybody: `/livez` (would a restart help?), `/readyz` (may traffic come?),
`/actuator/health`.
"""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.http.auth import PERMISSION, Permission
from airy.http.ports import Status
from airy.http.reply import json_reply

OPEN = {PERMISSION: Permission.OPEN}
PROBES = frozenset({"/livez", "/readyz", "/actuator/health"})


def routes(status: Status) -> list[HTTPRouteHandler]:
    @get("/livez", opt=OPEN)
    async def livez() -> ASGIResponse:
        """200 unless only a restart would help."""
        alive = status.alive()
        return json_reply({"alive": alive}, 200 if alive else 503)

    @get("/readyz", opt=OPEN)
    async def readyz() -> ASGIResponse:
        """200 when requests can be served; else what is waited for."""
        waiting = dict(status.waiting_for())
        return json_reply({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    @get("/actuator/health", opt=OPEN)
    async def health() -> ASGIResponse:
        """The original's health page."""
        up = status.alive() and not status.waiting_for()
        return json_reply({"status": "UP" if up else "DOWN"}, 200 if up else 503)

    return [livez, readyz, health]
