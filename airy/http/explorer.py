"""`/schema`: a page to read and try the API, which works offline: Swagger UI in a fixed version, from this package.

The page is public like the description it shows; requests from it need a token or a session like any other. Its
content security policy allows no other host and no script but the two of the page.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.commands import NotFound
from airy.http.auth import PERMISSION, Permission
from airy.http.route_description import DESCRIPTION, RouteDescription

ASSETS = {
    "explorer.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles of elements, so inline styles are allowed."""
HEADERS = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}


@cache
def _asset(name: str) -> bytes:
    return files("airy.http").joinpath("explorer_assets", name).read_bytes()


def routes() -> list[HTTPRouteHandler]:
    html = RouteDescription(tag="schema", responses={200: ("The page.", "text/html")})

    @get(["/schema", "/schema/explorer"], opt={PERMISSION: Permission.OPEN, DESCRIPTION: html})
    async def explorer() -> ASGIResponse:
        """A page to read this description and to send requests from."""
        return ASGIResponse(body=_asset("index.html"), media_type="text/html", headers=HEADERS)

    file = RouteDescription(tag="schema", responses={200: ("The file.", "*/*")}, errors=(404,))

    @get("/schema/explorer/{name:str}", opt={PERMISSION: Permission.OPEN, DESCRIPTION: file})
    async def asset(request: Request[Any, Any, Any]) -> ASGIResponse:
        """A file of the explorer page."""
        name = request.path_params["name"]
        if name not in ASSETS:
            raise NotFound("the explorer has no such file")
        return ASGIResponse(body=_asset(name), media_type=ASSETS[name], headers=HEADERS)

    return [explorer, asset]
