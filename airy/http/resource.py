"""A resource of the API as a value: its routes, the component they belong to, its commands."""

from collections.abc import Callable, Mapping

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from airy.http.action import Action
from airy.http.auth import Guard, Permission
from airy.http.ports import ApiContext
from airy.http.websocket import WebsocketRoute


class StreamRoute(Struct, frozen=True, kw_only=True):
    """A GET whose response is sent in parts. `make` returns its handler, which declares `permission`."""

    path: str  # may be a template: `/media/{name}`
    permission: Permission
    media_type: str
    summary: str
    query: Mapping[str, str]  # its parameters, with what they mean
    problems: tuple[int, ...]  # statuses of its own
    methods: tuple[str, ...] = ("get",)
    make: Callable[[ApiContext, Guard], HTTPRouteHandler]


class Resource(Struct, frozen=True, kw_only=True):
    name: str
    component: str  # serves the routes; see `airy.components`
    actions: tuple[Action, ...] = ()
    websockets: tuple[WebsocketRoute, ...] = ()
    streams: tuple[StreamRoute, ...] = ()
    commands: str = ""  # name of its group in the command line; empty: it has none
