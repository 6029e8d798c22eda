"""`/schema/asyncapi.json`: the events of the websockets, of the stream and of webhooks, as AsyncAPI 3.0.

Generated from `event_schemas` and from the table of query parameters, so it agrees with what is sent.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.actors.feed_subscriber import MarkKind
from airy.http.auth import PERMISSION, Permission
from airy.http.event_query import PARAMETERS
from airy.http.event_schemas import PAYLOADS, SUMMARIES
from airy.http.json_response import json_response
from airy.http.openapi import component_name
from airy.http.response_schemas import VisitorEventSchema
from airy.model.change import ChangeKind

Document = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
TEXT: Document = {"type": "string"}
POSITIONS: Document = {
    "position": {**TEXT, "description": "for X-Airy-Position of a read that must show the event"},
    "resume": {**TEXT, "description": "to continue after the event"},
}
MARKS = {
    MarkKind.READY: "Everything before is sent; what follows is live.",
    MarkKind.RESYNC: "Events before were missed: read the state anew, with `position`. `reason` says why.",
    MarkKind.POSITION: "A later position to resume from, for a client that receives no events.",
}
VISITOR = "visitor-message"
VISITOR_SUMMARY = "The visitor wrote a message, or an agent's was sent."
FEED = "feed-"  # prefix of the messages of `/events`


def asyncapi_document(version: str) -> Document:
    kinds = {str(payload): payload for payload in (*PAYLOADS.values(), VisitorEventSchema)}
    references, components = msgspec.json.schema_components(list(kinds.values()), ref_template=REFERENCE)
    payloads = dict(zip(kinds, references, strict=True))
    events = {kind.value: _event(kind, payloads[str(payload)]) for kind, payload in PAYLOADS.items()}
    feed = {
        **{FEED + kind.value: _event(kind, payloads[str(payload)], POSITIONS) for kind, payload in PAYLOADS.items()},
        **{FEED + kind.value: _mark(kind, text) for kind, text in MARKS.items()},
    }
    visitor = {VISITOR: {"name": VISITOR, "summary": VISITOR_SUMMARY, "payload": payloads[str(VisitorEventSchema)]}}
    document: Document = {
        "asyncapi": "3.0.0",
        "info": {"title": "Airy Core events", "version": version},
        "defaultContentType": "application/json",
        "channels": {
            "communication": _channel("/ws.communication", "STOMP messages of the destination /events.", events),
            "chatplugin": _channel(
                "/ws.chatplugin", "STOMP messages of the destination /user/queue/message, for one visitor.", visitor
            ),
            "events": {
                **_channel("/events", "A websocket, or with Accept: text/event-stream a stream of events.", feed),
                "bindings": {"ws": {"query": {"type": "object", "properties": _query()}}},
            },
            "webhook": _channel(None, "POST requests to the endpoints of webhooks.", events),
        },
        "operations": {
            f"send-{channel}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{channel}"},
                **({"security": [{"$ref": "#/components/securitySchemes/token"}]} if channel != "webhook" else {}),
            }
            for channel in ("chatplugin", "communication", "events", "webhook")
        },
        "components": {
            "messages": {**events, **feed, **visitor},
            "schemas": {component_name(name): schema for name, schema in sorted(components.items())},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    renamed: Document = _renamed(document, {REFERENCE.format(name=name): component_name(name) for name in components})
    return renamed


def _channel(address: str | None, description: str, messages: Mapping[str, Document]) -> Document:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _event(kind: ChangeKind, payload: Document, more: Mapping[str, Document] | None = None) -> Document:
    properties = {
        "id": {**TEXT, "format": "uuid", "description": "the same for every delivery of the event"},
        "type": {"const": kind.value},
        "timestamp": {"type": "integer", "description": "ms since 1970"},
        "sequence": {"type": "integer", "description": "grows within a conversation, channel or tag"},
        "payload": payload,
        **(more or {}),
    }
    return {
        "name": kind.value,
        "summary": SUMMARIES[kind],
        "payload": {"type": "object", "required": list(properties), "properties": properties},
    }


def _mark(kind: MarkKind, text: str) -> Document:
    properties: Document = {"type": {"const": kind.value}, **POSITIONS}
    required = list(properties)
    if kind is MarkKind.RESYNC:
        properties["reason"] = TEXT
        required.append("reason")
    payload = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"name": kind.value, "summary": text, "payload": payload}


def _query() -> Document:
    return {name: {**TEXT, "description": text} for name, text in PARAMETERS.items()}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: REFERENCE.format(name=names[item]) if key == "$ref" and item in names else _renamed(item, names)
            for key, item in value.items()
        }
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def route(version: str) -> HTTPRouteHandler:
    """The route of the document, which the first request makes."""

    @cache
    def document() -> Document:
        return asyncapi_document(version)

    @get("/schema/asyncapi.json", opt={PERMISSION: Permission.OPEN})
    async def schema() -> ASGIResponse:
        """The events of websockets, streams and webhooks."""
        return json_response(document())

    return schema
