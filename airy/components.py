"""The table of components: the units that are configured, enabled, run and reported.

A component is an argument of `airy run` and runs in its own pod. `client.config` may report it under another name:
`webhook-publisher` and `webhook-consumer` are services of `integration-webhook` there. An app is a named set of
components. `airy.app.tree` builds their actors.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypedDict

import msgspec.inspect as shapes
from msgspec import Struct, structs

from airy import config_reader
from airy.config import Components, Config
from airy.errors import Refused


class Component(Struct, frozen=True, kw_only=True):
    name: str
    summary: str
    apps: tuple[str, ...]
    mandatory: bool = False  # cannot be disabled
    services: tuple[str, ...] = ()  # their names in `client.config`, as in the original
    reported_as: str = ""  # the component of these services in `client.config`, if not `name`
    routes: tuple[str, ...] = ()  # HTTP paths, or prefixes if they end in a dot or slash
    actors: tuple[str, ...] = ()  # children of the supervision tree

    @property
    def section(self) -> str:
        """The attribute of `Config.components` with its keys, which may not exist."""
        return self.name.replace("-", "_")


ALL = (
    Component(
        name="http",
        summary="the HTTP server: all routes, health, metrics and the OpenAPI document",
        apps=("core",),
        mandatory=True,
        routes=("/actuator/", "/health", "/metrics", "/schema/openapi.json"),
        actors=("http",),
    ),
    Component(
        name="api-communication",
        summary="conversations and messages: list, send, read, tag",
        apps=("core",),
        mandatory=True,
        services=("api-communication",),
        routes=("/conversations.", "/messages.", "/metadata."),
        actors=("store",),
    ),
    Component(
        name="api-admin",
        summary="channels, tags, templates, users, webhooks and the configuration of clients",
        apps=("core",),
        mandatory=True,
        services=("api-admin",),
        routes=(
            "/channels.",
            "/tags.",
            "/templates.",
            "/users.",
            "/webhooks.",
            "/client.config",
            "/processes.",
            "/dead-letters.",
        ),
        actors=("store",),
    ),
    Component(
        name="sources-facebook",
        summary="Facebook Messenger: its webhook, its router and its sends",
        apps=("messenger",),
        services=("sources-facebook-connector", "sources-facebook-events-router"),
        routes=("/facebook", "/channels.facebook."),
        actors=("router", "parked-replayer", "connector"),
    ),
    Component(
        name="webhook-publisher",
        summary="matches changes with subscriptions and queues the deliveries",
        apps=("webhooks",),
        services=("webhook-publisher",),
        reported_as="integration-webhook",
        actors=("publisher",),
    ),
    Component(
        name="webhook-consumer",
        summary="delivers queued webhooks to their endpoints",
        apps=("webhooks",),
        services=("webhook-consumer",),
        reported_as="integration-webhook",
        actors=("dispatcher",),
    ),
)
BY_NAME = {component.name: component for component in ALL}
APPS = {app: tuple(c.name for c in ALL if app in c.apps) for app in ("core", "messenger", "webhooks")}


class Service(TypedDict):
    """One entry of `client.config.services`."""

    enabled: bool
    healthy: bool
    component: str


def enabled(config: Config) -> frozenset[str]:
    """The names of the components this configuration enables."""
    return frozenset(
        component.name
        for component in ALL
        if component.mandatory or getattr(getattr(config.components, component.section, None), "enabled", True)
    )


def resolve(names: Iterable[str]) -> frozenset[str]:
    """Resolves names of components, apps, services or reported components. Raises `Refused`."""
    known = _names()
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise Refused(f"no component is called {name}{config_reader.closest(name, list(known))}", field=name)
        found |= known[name]
    return frozenset(found)


def required_keys(name: str) -> tuple[str, ...]:
    """The configuration keys an enabled component requires."""
    section = _SECTIONS.get(name)
    return tuple(field.encode_name for field in config_reader.required_fields(section)) if section else ()


def client_config_services(running: Collection[str], healthy: Mapping[str, bool]) -> dict[str, Service]:
    """`services` of `client.config`, by service name. A component missing in `healthy` is not healthy."""
    return {
        service: Service(
            enabled=component.name in running,
            healthy=component.name in running and healthy.get(component.name, False),
            component=component.reported_as or component.name,
        )
        for component in ALL
        for service in component.services
    }


def _names() -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for component in ALL:
        for name in (*component.apps, *component.services, component.reported_as, component.name):
            known.setdefault(name, set()).add(component.name)
    known.pop("", None)
    return known


_SECTIONS = {
    field.encode_name: shape
    for field in structs.fields(Components)
    if isinstance(shape := shapes.type_info(field.type), shapes.StructType)
}
