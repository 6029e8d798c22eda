"""Examples of request and response bodies, derived from their schemas, so that each body has one and none is stale.

A value comes from `VALUES`, by the name of its field, if the schema of the field has no narrower choice; else from the
schema: its default, its first choice, or a value of its type.
"""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

CONVERSATION = "5c6d7e8f-9a0b-5c1d-8e2f-3a4b5c6d7e8f"
CHANNEL = "b0f61c2d-3e4f-5a6b-9c7d-8e9f0a1b2c3d"
ID = "0d1c2b3a-4f5e-4a6b-8c7d-9e0f1a2b3c4d"
WHEN = "2024-03-05T07:08:09.120Z"
REFERENCE = "#/components/schemas/"

VALUES: dict[str, Any] = {
    "account_id": "17841400000000001",
    "address": {"address_line1": "Hauptstrasse 5", "city": "Berlin", "postal_code": "10827", "country": "DE"},
    "allowed_origins": ["https://shop.example.net"],
    "avatar_url": "https://cdn.example.net/grace.png",
    "channel_id": CHANNEL,
    "cluster_version": "1.0.0",
    "code": "invalid",
    "content": {"text": "Is the blue one in stock?"},
    "config": {"headerText": "Help"},
    "contact_id": "9a0b1c2d-3e4f-5a6b-8c7d-0e1f2a3b4c5d",
    "conversation_id": CONVERSATION,
    "conversations": {CONVERSATION: "facebook"},
    "created_at": WHEN,
    "cursor": None,
    "data": {"crm": {"id": "C-1017"}},
    "destination_id": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
    "display_name": "Grace Hopper",
    "email": "grace@example.net",
    "events": ["message.created"],
    "expires_at": "2025-03-05T07:08:09.120Z",
    "expires_in_s": 86_400,
    "filters": "unread_count:[1 TO *] AND NOT metadata.state:CLOSED",
    "first_seen_at": WHEN,
    "headers": {"X-Team": "support"},
    "id": ID,
    "image_url": "https://cdn.example.net/shop.png",
    "keys": ["crm.id"],
    "last_seen_at": WHEN,
    "locale": "de_DE",
    "message": {"text": "Yes, three left."},
    "message_id": ID,
    "metadata": {"user_data": {"crm": {"id": "C-1017"}}},
    "name": "Order hotline",
    "next_cursor": None,
    "organization_name": "Eckert & Mauchly",
    "page_id": "204918377001",
    "page_size": 20,
    "phone_number": "+4930123456",
    "previous_cursor": None,
    "sent_at": WHEN,
    "source": "facebook",
    "source_channel_id": "204918377001",
    "source_id": ID,
    "state": "OPEN",
    "subject": "conversation",
    "suggestions": {"ack": {"content": {"text": "On it!"}}},
    "tag_id": "2f3e4d5c-6b7a-4899-8abb-ccddeeff0011",
    "timezone": 1,
    "title": "Buyer",
    "total": 1,
    "updated_at": WHEN,
    "url": "https://crm.example.net/hook",
    "via": {"phone": "+4930123456"},
}
"""By the name of a field."""

SHOWN: Mapping[str, tuple[str, ...]] = {
    "AuthenticateVisitor": ("channel_id",),
    "ConfigureChatPlugin": ("config", "allowed_origins"),
    "ContactFields": ("display_name", "via", "address"),
    "CreateToken": ("role",),
    "ExploreFacebook": ("auth_token",),
    "FindContact": ("conversation_id",),
    "ListContacts": ("page_size",),
    "ListConversations": ("filters", "page_size"),
    "ListMessages": ("page_size",),
    "ReplayDeadDeliveries": ("id",),
    "ResumeTokenRequest": ("channel_id", "conversation_id"),
    "SendMessage": ("conversation_id",),
    "SubscribeWebhook": ("name", "events"),
    "TraceMessage": ("message_id",),
    "UpdateChannel": ("name",),
    "UpdateContactFields": ("display_name", "address"),
    "UpdateTag": ("name",),
    "UpdateTemplate": ("name",),
    "UpdateWebhook": ("events",),
}
"""Optional fields that the example of a request has, by its struct; the fields it must have are always there."""


TYPES: Mapping[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "string": str,
}
OF_TYPE: Mapping[str, Any] = {"boolean": True, "null": None, "number": 0.5, "string": "text"}


def response_example(schema: Document, components: Mapping[str, Document]) -> Any:
    """Every field of the response."""
    return _value(schema, "", components, None)


def request_example(schema: Document, components: Mapping[str, Document]) -> Any:
    """The fields that a request must have, and those of `SHOWN`."""
    return _value(schema, "", components, SHOWN)


def _value(schema: Document, field: str, components: Mapping[str, Document], shown: Mapping[str, Any] | None) -> Any:
    given = VALUES.get(field)
    if field in VALUES and _accepts(schema, given, components):
        return given
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return _object(components[name], name, components, shown) if _is_object(components[name]) else None
    if "default" in schema and schema["default"] is not None:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        kinds = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return _value(kinds[0], field, components, shown)
    return _of_type(schema, field, components, shown)


def _of_type(schema: Document, field: str, components: Mapping[str, Document], shown: Mapping[str, Any] | None) -> Any:
    match schema.get("type"):
        case "object":
            return _object(schema, "", components, shown)
        case "array":
            return [_value(schema["items"], field, components, shown)] if "items" in schema else []
        case "string" if schema.get("format") == "uuid":
            return ID
        case "integer":
            return max(1, schema.get("minimum", 1))
        case str() as kind if kind in OF_TYPE:
            return OF_TYPE[kind]
    return {"text": "any JSON value"}


def _object(
    schema: Document, name: str, components: Mapping[str, Document], shown: Mapping[str, tuple[str, ...]] | None
) -> Document:
    required = schema.get("required", ())
    return {
        field: _value(inner, field, components, shown)
        for field, inner in schema.get("properties", {}).items()
        if shown is None or field in required or field in shown.get(name, ())
    }


def _is_object(schema: Document) -> bool:
    return schema.get("type") == "object"


def _accepts(schema: Document, value: Any, components: Mapping[str, Document]) -> bool:
    """Whether a value is one of the schema, as far as `VALUES` needs it."""
    if "$ref" in schema:
        return _accepts(components[schema["$ref"].removeprefix(REFERENCE)], value, components)
    if "anyOf" in schema:
        return any(_accepts(each, value, components) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    return _fits(value, schema.get("type"), schema, components)


def _fits(value: Any, kind: Any, schema: Document, components: Mapping[str, Document]) -> bool:
    if not isinstance(kind, str):  # any JSON value but null
        return value is not None
    if kind == "array":
        return isinstance(value, list) and all(_accepts(schema.get("items", {}), each, components) for each in value)
    if kind == "object":
        return isinstance(value, dict) and _fits_fields(value, schema, components)
    return isinstance(value, TYPES[kind])


def _fits_fields(value: Document, schema: Document, components: Mapping[str, Document]) -> bool:
    known = schema.get("properties")
    if known is None:
        return all(_accepts(schema.get("additionalProperties") or {}, each, components) for each in value.values())
    fits = all(field in known and _accepts(known[field], each, components) for field, each in value.items())
    return fits and set(schema.get("required", ())) <= value.keys()
