"""Health probes without authentication: `/livez` (liveness), `/readyz` (readiness), `/actuator/health`."""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.http.auth import PERMISSION, UNLIMITED, Permission
from airy.http.json_response import json_response
from airy.http.ports import ProcessHealth
from airy.http.route_description import DESCRIPTION, JSON_TYPE, RouteDescription

DESCRIBED = RouteDescription(tag="health", responses={200: ("It is.", JSON_TYPE), 503: ("It is not.", JSON_TYPE)})
OPEN = {PERMISSION: Permission.OPEN, UNLIMITED: True, DESCRIPTION: DESCRIBED}
PROBES = frozenset({"/livez", "/readyz", "/actuator/health"})


def routes(health: ProcessHealth, installation: str) -> list[HTTPRouteHandler]:
    @get("/livez", opt=OPEN)
    async def livez() -> ASGIResponse:
        """200; 503 if only a restart would help. `installation` tells whether an address leads to this installation."""
        alive = health.alive()
        return json_response({"alive": alive, "installation": installation}, 200 if alive else 503)

    @get("/readyz", opt=OPEN)
    async def readyz() -> ASGIResponse:
        """200 if the process can serve requests; else 503 and the reasons."""
        waiting_for = dict(health.waiting_for())
        return json_response({"ready": not waiting_for, "waiting_for": waiting_for}, 503 if waiting_for else 200)

    @get("/actuator/health", opt=OPEN)
    async def actuator_health() -> ASGIResponse:
        """The original Airy's health probe."""
        up = health.alive() and not health.waiting_for()
        return json_response({"status": "UP" if up else "DOWN"}, 200 if up else 503)

    return [livez, readyz, actuator_health]
