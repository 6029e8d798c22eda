"""`/events`: as a websocket, and as server-sent events."""

from airy.http import event_socket, event_stream
from airy.http.auth import Permission
from airy.http.event_query import PARAMETERS
from airy.http.resource import Resource, StreamRoute

RESOURCE = Resource(
    name="events",
    component="api-websocket",
    websockets=(event_socket.ROUTE,),
    streams=(
        StreamRoute(
            path=event_stream.PATH,
            permission=Permission.READ,
            media_type=event_stream.MEDIA_TYPE.decode(),
            summary="All events, or those of a scope, as server-sent events; continues at a position.",
            query=PARAMETERS,
            problems=(406,),
            make=event_stream.route,
        ),
    ),
)
