"""What the view of channels shows, and the connect forms, from what the API says. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from airy.tui.view_model import clean

CONNECT_PREFIX, CONNECT_SUFFIX = "/channels.", ".connect"
FAILING = "failing"


class ListedChannel(Struct, frozen=True):
    """A channel as `channels.list` gives it."""

    id: str
    source: str
    source_channel_id: str
    connected: bool = True
    metadata: dict[str, Any] = {}
    webhook_url: str | None = None  # to paste at the provider
    last_inbound_at: str | None = None
    last_outbound_at: str | None = None

    @property
    def name(self) -> str:
        return clean(str(self.metadata.get("name") or ""), 60)

    @property
    def title(self) -> str:
        return f"{self.source} {self.name or self.source_channel_id}"

    @property
    def health(self) -> Mapping[str, Any]:
        """`state`, `since`, `reason`, `repaired`; empty of a channel that has not failed."""
        known = self.metadata.get("health")
        return known if isinstance(known, dict) else {}

    @property
    def state(self) -> tuple[str, str, str]:
        """Symbol, style and word."""
        if not self.connected:
            return "○", "$foreground-muted", "disconnected"
        if self.health.get("state") == FAILING:
            return "▲", "$error", FAILING
        return "●", "$success", "connected"

    @property
    def said(self) -> str:
        """Why it fails, or what was put right last."""
        if self.health.get("state") == FAILING:
            return clean(str(self.health.get("reason") or ""))
        repaired = self.health.get("repaired")
        return f"repaired: {clean(str(repaired))}" if repaired else ""

    @property
    def words(self) -> str:
        return f"{self.source} {self.source_channel_id} {self.name} {self.state[2]} {self.said}".lower()


class FormField(Struct, frozen=True):
    """`choices`: the values it takes; empty: any text."""

    name: str
    required: bool
    secret: bool
    default: str = ""
    choices: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """What a blank field says."""
        words = [" or ".join(self.choices), "" if self.required else "optional"]
        return ", ".join(word for word in words if word)


class ConnectKind(Struct, frozen=True):
    """A kind of channel that can be connected here."""

    name: str
    title: str
    fields: tuple[FormField, ...]

    @property
    def path(self) -> str:
        return f"{CONNECT_PREFIX}{self.name}{CONNECT_SUFFIX}"


def connect_kinds(document: Mapping[str, Any]) -> list[ConnectKind]:
    """The kinds of an OpenAPI document, in its order: one of each action `/channels.<kind>.connect`."""
    kinds = []
    for path, item in document["paths"].items():
        if path.startswith(CONNECT_PREFIX) and path.endswith(CONNECT_SUFFIX):
            name = path[len(CONNECT_PREFIX) : -len(CONNECT_SUFFIX)]
            operation = item["post"]
            _, _, title = str(operation.get("summary", "")).partition(": ")
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            fields = _fields(_resolved(body, document), document)
            kinds.append(ConnectKind(name, title.partition(".")[0] or name, fields))
    return kinds


def _fields(schema: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[FormField, ...]:
    """Required ones first."""
    required = set(schema.get("required", ()))
    fields = [
        _field(name, _resolved(given, document), name in required) for name, given in schema["properties"].items()
    ]
    return tuple(sorted(fields, key=lambda field: not field.required))


def _field(name: str, given: Mapping[str, Any], required: bool) -> FormField:
    members = [each for each in given.get("anyOf", (given,)) if each.get("type") != "null"]
    kind = members[0] if members else {}
    return FormField(
        name=name,
        required=required,
        secret=kind.get("format") == "password",
        default=str(given.get("default") or ""),
        choices=tuple(map(str, kind.get("enum", ()))),
    )


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference into the document refers to."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document
    for part in str(reference).removeprefix("#/").split("/"):
        found = found[part]
    return found


def problem(fields: tuple[FormField, ...], given: Mapping[str, str]) -> str:
    """Why a form cannot be sent; empty if it can."""
    missing = [field.name for field in fields if field.required and not given.get(field.name)]
    if missing:
        return f"required: {', '.join(missing)}"
    wrong = [field for field in fields if field.choices and given.get(field.name, "") not in ("", *field.choices)]
    return "; ".join(f"{field.name} is {' or '.join(field.choices)}" for field in wrong)


class ConnectAnswer(Struct, frozen=True):
    """What is left to do at the provider by hand, if anything."""

    id: str
    instructions: str = ""
    settings: dict[str, str] = {}
