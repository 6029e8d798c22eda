"""A resource of the API as a value: its routes, the component they belong to, its commands."""

from msgspec import Struct

from airy.http.action import Action
from airy.http.websocket import WebsocketRoute


class Resource(Struct, frozen=True, kw_only=True):
    name: str
    component: str  # serves the routes; see `airy.components`
    actions: tuple[Action, ...] = ()
    websockets: tuple[WebsocketRoute, ...] = ()
    commands: str = ""  # name of its group in the command line; empty: it has none
