"""Every component of Airy, on one page: what is configured, enabled, run and reported under one name.

A component is what `airy run` takes and what a pod will be. `client.config` may report it under another
name (`webhook-publisher` and `webhook-consumer` are services of `integration-webhook` there). An app is a
set of components that make sense together. What the actors do is not here: the composition root builds
them.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypedDict

import msgspec.inspect as shapes
from msgspec import Struct, structs

from airy import document
from airy.config import Components, Config
from airy.errors import Refused


class Component(Struct, frozen=True, kw_only=True):
    name: str
    summary: str
    apps: tuple[str, ...]
    mandatory: bool = False  # the system makes no sense without it: cannot be switched off
    services: tuple[str, ...] = ()  # as the original names them in `client.config`
    reported_as: str = ""  # the component these services are reported under, if it is not `name`
    routes: tuple[str, ...] = ()  # HTTP paths, or their prefixes where they end in a dot
    actors: tuple[str, ...] = ()  # children of the supervision tree

    @property
    def section(self) -> str:
        """The attribute of `Config.components` with its keys, whether or not there is one."""
        return self.name.replace("-", "_")


ALL = (
    Component(
        name="http",
        summary="the edge: one server for every route, health, metrics and the API's description",
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
        summary="channels, tags, templates, users, webhooks and what the clients need to know",
        apps=("core",),
        mandatory=True,
        services=("api-admin",),
        routes=("/channels.", "/tags.", "/templates.", "/users.", "/webhooks.", "/client.config", "/processes."),
        actors=("store",),
    ),
    Component(
        name="sources-facebook",
        summary="Facebook Messenger: its webhook, its router and its sends",
        apps=("messenger",),
        services=("sources-facebook-connector", "sources-facebook-events-router"),
        routes=("/facebook", "/channels.facebook."),
        actors=("router", "unpark", "connector"),
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
    """The names of the components this configuration switches on."""
    return frozenset(
        component.name
        for component in ALL
        if component.mandatory or getattr(getattr(config.components, component.section, None), "enabled", True)
    )


def resolve(names: Iterable[str]) -> frozenset[str]:
    """Component names from names of components, apps, services or reported components. Raises `Refused`."""
    known = _names()
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise Refused(f"no component is called {name}{document.closest(name, list(known))}", field=name)
        found |= known[name]
    return frozenset(found)


def required_keys(name: str) -> tuple[str, ...]:
    """The configuration keys an enabled component cannot do without."""
    section = _SECTIONS.get(name)
    return tuple(field.encode_name for field in document.needed(section)) if section else ()


def serves(running: Collection[str], path: str) -> bool:
    """Whether one of these components has this path; a longer name wins over the prefix it begins with."""
    owners = [(len(route), each.name) for each in ALL for route in each.routes if _under(path, route)]
    return bool(owners) and max(owners)[1] in running


def _under(path: str, route: str) -> bool:
    return path.startswith(route) if route[-1] in "./" else path == route


def client_config_services(running: Collection[str], healthy: Mapping[str, bool]) -> dict[str, Service]:
    """`services` of `client.config`: by service name, whether its component runs and is well.

    `healthy` is by component name; one it does not mention is not.
    """
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
