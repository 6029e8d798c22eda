"""Events as clients of `/events` receive them, over a websocket or as server-sent events. Pure.

An event is the body of its webhook with two more keys: `position`, for reads that must show it, and `resume`, to
continue after it. Marks (`ready`, `resync`, `position`) have a `type` of their own and the same two keys.
"""

import msgspec

from airy.actors.feed_subscriber import FeedEvent, FeedItem

JSON = "json"  # the form of `FeedEvent.texts`
SERVER_SENT = "server-sent"

KEEP_ALIVE = ": keep-alive\n\n"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    position: str
    resume: str
    reason: str = ""


def json_text(item: FeedItem) -> str:
    if not isinstance(item, FeedEvent):
        return msgspec.json.encode(Mark(item.kind, item.read_position, item.resume, item.reason)).decode()
    text = item.texts.get(JSON)
    if text is None:
        body = item.stored.change.body.decode()
        text = item.texts[JSON] = f'{body[:-1]},"position":"{item.read_position}","resume":"{item.resume}"}}'
    return text


def server_sent_text(item: FeedItem) -> str:
    """Changes have no `event`, so that `onmessage` of an `EventSource` receives them all; marks have their type."""
    if not isinstance(item, FeedEvent):
        return f"event: {item.kind}\nid: {item.resume}\ndata: {json_text(item)}\n\n"
    text = item.texts.get(SERVER_SENT)
    if text is None:
        text = item.texts[SERVER_SENT] = f"id: {item.resume}\ndata: {json_text(item)}\n\n"
    return text
