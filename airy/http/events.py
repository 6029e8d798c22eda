"""`/events`: as a websocket, and as server-sent events."""

from airy.http import event_socket, event_stream
from airy.http.resource import Resource

RESOURCE = Resource(
    name="events", component="api-websocket", websockets=(event_socket.ROUTE,), streams=(event_stream.ROUTE,)
)
