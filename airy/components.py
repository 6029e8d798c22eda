"""The table of components: the units that are configured, enabled, run and reported.

A component is an argument of `airy run` and runs in its own pod; its id is `<type>-<name>`, its configuration
`components.<type>.<name>`. `client.config` may report it under another name: `webhook-publisher` and `webhook-consumer`
are services of `integration-webhook` there. An app is a named set of components.

Access lists, consumer groups, the schema of the configuration, health and the supervision tree are derived from this
table; the sources in it are derived from `airy.sources.catalogue`.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, TypedDict

import msgspec.inspect as shapes
from msgspec import Meta, Struct

from airy import change_readers, config_reader, topics
from airy.bus.topic import Topic
from airy.errors import Refused
from airy.sources.catalogue import SOURCES
from airy.sources.spec import SourceSpec

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.001, le=604_800)]

SectionType = type[Struct]


class Section(Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of configuration sections. A component whose section has `enabled` can be disabled."""


class ConsumerGroup(Struct, frozen=True, kw_only=True):
    """A consumer group, the actor that joins it, and the topics whose offsets it commits (none: it only assigns)."""

    actor: str
    name: str
    commits: tuple[Topic[Any], ...] = ()


class Component(Struct, frozen=True, kw_only=True):
    """`children` and `early_children` are `module:function`, each called once with the services of the process and the
    running components that name it; they return a supervisor for the tree. Early ones start before the store has
    folded the log.
    """

    type: str
    name: str
    summary: str
    apps: tuple[str, ...]
    section: SectionType | None = None
    mandatory: bool = False  # cannot be disabled
    actors: tuple[str, ...] = ()  # those that use the log, as `airy.topics` names them
    groups: tuple[ConsumerGroup, ...] = ()
    routes: tuple[str, ...] = ()  # HTTP paths, prefixes ending in a dot or slash, or templates: `/tags/{id}`
    services: tuple[str, ...] = ()  # their names in `client.config`, as in the original
    reported_as: str = ""  # the component of these services in `client.config`, if not this one
    children: tuple[str, ...] = ()
    early_children: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`sources-twilio`; the name of its ConfigMap in a cluster."""
        return f"{self.type}-{self.name}" if self.type else self.name

    @property
    def path(self) -> str:
        """The path of its configuration section."""
        return f"components.{self.type}.{self.name}"


# --- sections


class CommunicationSection(Section, frozen=True):
    message_ttl_s: Annotated[
        Seconds, Meta(description="s; a message not sent for so long fails instead of arriving out of context")
    ] = 86_400.0


class WebsocketSection(Section, frozen=True):
    sessions_max: Annotated[Count, Meta(description="clients that follow events, in each process")] = 10_000


class ContactsSection(Section, frozen=True):
    enabled: bool = True


class PublisherSection(Section, frozen=True):
    enabled: bool = True


class ConsumerSection(Section, frozen=True):
    enabled: bool = True
    in_flight_max: Annotated[
        Count, Meta(description="deliveries in flight; endpoints that take longer than 1 s share half")
    ] = 200
    per_webhook_max: Annotated[Count, Meta(description="of these, to one webhook")] = 20
    timeout_s: Annotated[Seconds, Meta(description="s, for one attempt")] = 15.0


# --- the table

BROADCASTER = "airy.app.children:broadcaster"


def reader_groups(component_id: str) -> tuple[ConsumerGroup, ...]:
    """The groups of the readers of changes a component has."""
    return tuple(
        ConsumerGroup(actor=reader.actor, name=reader.group, commits=reader.topics)
        for reader in change_readers.groups_of(change_readers.of_components([component_id]))
    )


def source_component(spec: SourceSpec) -> Component:
    """The component of a source, derived from its specification."""
    return Component(
        type="sources",
        name=spec.name,
        summary=f"{spec.title}: {'webhooks, routing' if spec.webhooks else 'its own routes'} and sends",
        apps=("sources",),
        section=spec.section,
        actors=(
            *(("ingress", "router", "parked-replayer") if spec.webhooks else ()),
            "connector",
            "commands",
            *(("broadcaster",) if spec.broadcasts else ()),
        ),
        groups=(
            *(_intake_groups(spec) if spec.webhooks else ()),
            ConsumerGroup(actor="connector", name=topics.source_group(spec.name, "connector")),
        ),
        routes=(*spec.webhooks, *spec.routes, *(f"/channels.{kind.name}." for kind in spec.kinds)),
        services=spec.services,
        reported_as=spec.reported_as,
        children=("airy.app.children:sources", *((BROADCASTER,) if spec.broadcasts else ())),
    )


def _intake_groups(spec: SourceSpec) -> tuple[ConsumerGroup, ...]:
    return (
        ConsumerGroup(
            actor="router",
            name=topics.source_group(spec.name, "router"),
            commits=(topics.source_events(spec.name),),
        ),
        ConsumerGroup(
            actor="parked-replayer",
            name=topics.source_group(spec.name, "parked-replayer"),
            commits=(topics.CHANNELS,),
        ),
    )


ALL: tuple[Component, ...] = (
    Component(
        type="",
        name="http",
        summary="the HTTP server: all routes, health, metrics, and the OpenAPI and AsyncAPI documents",
        apps=("core",),
        mandatory=True,
        routes=("/actuator/", "/health", "/metrics", "/schema"),
    ),
    Component(
        type="api",
        name="communication",
        summary="conversations and messages: list, send, read, tag",
        apps=("core",),
        section=CommunicationSection,
        mandatory=True,
        actors=("commands", "deferred-sends"),
        routes=("/conversations.", "/messages.", "/metadata."),
        services=("api-communication",),
        children=("airy.app.children:deferred_sends",),
    ),
    Component(
        type="api",
        name="admin",
        summary="channels, tags, templates, users, API tokens, webhooks and the configuration, of clients too",
        apps=("core",),
        mandatory=True,
        actors=("commands", "process-registry", "dead-letters", "message-traces", "process-logs", topics.BROWSER),
        routes=(
            "/channels.",
            "/tags.",
            "/tokens.",
            "/templates.",
            "/users.",
            "/webhooks.",
            "/client.config",
            "/login",
            "/login/",
            "/logout",
            "/oauth2/",
            "/processes.",
            "/components.",
            "/dead-letters.",
            "/messages.trace",
            "/topics.",
            "/logs.",
        ),
        services=("api-admin",),
        early_children=("airy.app.children:process_registry",),
    ),
    Component(
        type="api",
        name="contacts",
        summary="contacts: the persons on the other side of conversations",
        apps=("core",),
        section=ContactsSection,
        actors=("commands",),
        routes=("/contacts.",),
        services=("api-contacts",),
    ),
    Component(
        type="api",
        name="websocket",
        summary="events as they happen: STOMP as in the original, websockets and server-sent events",
        apps=("core",),
        section=WebsocketSection,
        mandatory=True,
        actors=("broadcaster",),
        routes=("/ws.communication", "/events"),
        services=("api-websocket",),
        children=(BROADCASTER,),
    ),
    Component(
        type="media",
        name="resolver",
        summary="uploaded files and attachments of contacts: fetches, stores and serves them",
        apps=("core",),
        mandatory=True,
        actors=("media-monitor", "media-fetcher"),
        groups=reader_groups("media-resolver"),
        routes=("/media.", "/media/"),
        services=("media-resolver",),
        children=("airy.app.children:media_resolver",),
    ),
    *(source_component(spec) for spec in SOURCES),
    Component(
        type="webhook",
        name="publisher",
        summary="matches changes with subscriptions and queues the deliveries",
        apps=("webhooks",),
        section=PublisherSection,
        actors=("publisher",),
        groups=reader_groups("webhook-publisher"),
        services=("webhook-publisher",),
        reported_as="integration-webhook",
        children=("airy.app.children:publisher",),
    ),
    Component(
        type="webhook",
        name="consumer",
        summary="delivers queued webhooks to their endpoints",
        apps=("webhooks",),
        section=ConsumerSection,
        actors=("dispatcher",),
        services=("webhook-consumer",),
        reported_as="integration-webhook",
        children=("airy.app.children:dispatcher",),
    ),
)
BY_ID = {component.id: component for component in ALL}
APPS = {app: tuple(each.id for each in ALL if app in each.apps) for app in ("core", "sources", "webhooks")}


class Service(TypedDict):
    """One entry of `client.config.services`."""

    enabled: bool
    healthy: bool
    component: str


def resolve(names: Iterable[str]) -> frozenset[str]:
    """Component ids from names of components, apps, services or reported components. Raises `Refused`."""
    known = _names()
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise Refused(f"no component is called {name}{config_reader.closest(name, list(known))}", field=name)
        found |= known[name]
    return frozenset(found)


def required_keys(component_id: str) -> tuple[str, ...]:
    """The configuration keys an enabled component requires."""
    component = BY_ID.get(component_id)
    shape = shapes.type_info(component.section) if component and component.section else None
    if not isinstance(shape, shapes.StructType):
        return ()
    return tuple(field.encode_name for field in config_reader.required_fields(shape))


def client_config_services(running: Collection[str], healthy: Mapping[str, bool]) -> dict[str, Service]:
    """`services` of `client.config`, by service name. A component missing in `healthy` is not healthy."""
    return {
        service: Service(
            enabled=component.id in running,
            healthy=component.id in running and healthy.get(component.id, False),
            component=component.reported_as or component.id,
        )
        for component in ALL
        for service in component.services
    }


def _names() -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for component in ALL:
        for name in (*component.apps, *component.services, component.reported_as, component.id):
            known.setdefault(name, set()).add(component.id)
    known.pop("", None)
    return known
