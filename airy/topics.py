"""Declares every topic. Partition counts are frozen at creation: order and ids depend on them.

Writers and readers are names of actors (in every component that has such an actor) or `component/actor` (in that one
alone); `airy.acls` lists the actors of each component and derives a broker's ACLs.
"""

from typing import Any

from airy.bus.dead_letter import TOPIC_PREFIX as DEAD_LETTER_PREFIX
from airy.bus.record import Position
from airy.bus.record_schema import RecordSchema
from airy.bus.topic import Retention, Topic
from airy.errors import Refused
from airy.model import contact, fact
from airy.model.audit import AuditEntry
from airy.model.contact import ContactsWritten
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.fact import Fact
from airy.model.log_batch import LogBatch
from airy.model.process_status import ProcessStatus
from airy.sources.catalogue import SOURCES

BROWSER = "topic-browser"
"""The actor that reads every topic, for operators; it asks for the offsets of every group."""

DAY_MS = 86_400_000
EVENT_PARTITIONS = 16
ENTITY_PARTITIONS = 4

EVENTS: Topic[Fact] = Topic(
    "application.communication.events",
    Fact,
    key="conversation id",
    partitions=EVENT_PARTITIONS,
    retention="kept",
    writers=(
        "router",
        "parked-replayer",
        "connector",
        "deferred-sends",
        "media-fetcher",
        "api-communication/commands",
        *(f"sources-{spec.name}/commands" for spec in SOURCES if not spec.webhooks),
        "dead-letters",
    ),
    readers=("store", "connector", "publisher", "broadcaster", "media-fetcher", "message-traces", BROWSER),
    schema=RecordSchema(fact.KINDS),
)


def _entities(
    name: str,
    value_type: type,
    *,
    kind: str,
    version: int = 2,
    key: str = "entity id",
    retention: Retention = "kept",
    writers: tuple[str, ...] = (),
    readers: tuple[str, ...] = (),
) -> Topic[Any]:
    """Kept, because the latest record of an entity may be one that the fold rejected. Raise `version` with every change
    of the type that older processes would apply wrongly: they then hold. Version 2 is a write with a base.
    """
    return Topic(
        f"application.communication.{name}",
        value_type,
        key=key,
        partitions=ENTITY_PARTITIONS,
        retention=retention,
        writers=(*writers, "dead-letters"),
        readers=("store", *readers, BROWSER),
        schema=RecordSchema({value_type: (kind, version)}),
    )


CHANNELS: Topic[Channel] = _entities(
    "channels",
    Channel,
    kind="channel",
    writers=(
        "api-communication/commands",
        "api-admin/commands",
        *(f"sources-{spec.name}/commands" for spec in SOURCES),
    ),
    readers=("parked-replayer", "publisher"),
)
TAGS: Topic[Tag] = _entities("tags", Tag, kind="tag", writers=("api-admin/commands",), readers=("publisher",))
TEMPLATES: Topic[Template] = _entities("templates", Template, kind="template", writers=("api-admin/commands",))
CONTACTS: Topic[ContactsWritten] = _entities(
    "contacts",
    ContactsWritten,
    kind="contacts.written",
    version=1,
    key=f"the text `{contact.KEY}`",
    writers=("api-contacts/commands",),
)
USERS: Topic[User] = _entities("users", User, kind="user", writers=("commands",))
WEBHOOKS: Topic[Webhook] = _entities("webhooks", Webhook, kind="webhook", writers=("api-admin/commands", "dispatcher"))
DEAD_DELIVERIES: Topic[DeadDelivery] = _entities(
    "dead-deliveries",
    DeadDelivery,
    kind="dead_delivery",
    version=1,
    key="delivery id, time of failure",
    retention="compacted",
    writers=("api-admin/commands", "dispatcher"),
)
API_TOKENS: Topic[ApiToken] = _entities("api-tokens", ApiToken, kind="api_token", writers=("api-admin/commands",))
CUSTOM_SOURCES: Topic[CustomSource] = _entities(
    "sources", CustomSource, kind="custom_source", version=1, writers=("sources-custom/commands",)
)

FOLDED: tuple[Topic[Any], ...] = (
    EVENTS,
    CHANNELS,
    TAGS,
    TEMPLATES,
    CONTACTS,
    USERS,
    WEBHOOKS,
    DEAD_DELIVERIES,
    API_TOKENS,
    CUSTOM_SOURCES,
)
"""Topics a store folds; its positions cover them. Position tokens hold an index into this tuple: append only."""

CHANGE_TOPICS: tuple[Topic[Any], ...] = (EVENTS, CHANNELS, TAGS)
"""Topics whose records produce changes; a subscription starts at a position of each."""


def source_events(source: str) -> Topic[bytes]:
    """Raw webhook bodies, or the parts of a large batch; record headers hold request id, receive time and the
    allow-listed HTTP headers.
    """
    return Topic(
        f"source.{source}.events",
        bytes,
        key="provider account",
        partitions=EVENT_PARTITIONS,
        retention="time",
        retention_ms=14 * DAY_MS,
        writers=(f"sources-{source}/ingress", *_routers_that_hand_over(source), "dead-letters"),
        readers=(f"sources-{source}/router", "message-traces", BROWSER),
    )


def _routers_that_hand_over(source: str) -> tuple[str, ...]:
    """The routers of the sources whose webhook also brings this one's events."""
    spec = next((each for each in SOURCES if each.name == source), None)
    return tuple(f"sources-{name}/router" for name in spec.arrives_with) if spec else ()


def parked_events(source: str) -> Topic[bytes]:
    """Raw webhook bodies for accounts without a connected channel; replayed when a channel is connected."""
    return Topic(
        f"parked.source.{source}.events",
        bytes,
        key="provider account",
        partitions=EVENT_PARTITIONS,
        retention="time",
        retention_ms=14 * DAY_MS,
        writers=(f"sources-{source}/router",),
        readers=(
            f"sources-{source}/parked-replayer",
            *(f"sources-{spec.name}/parked-replayer" for spec in SOURCES if source in spec.arrives_with),
            BROWSER,
        ),
    )


def dead_letters(topic: str, *, writers: tuple[str, ...] = ()) -> Topic[bytes]:
    """Records of `topic` that could not be processed; see `airy.bus.dead_letter`."""
    return Topic(
        f"{DEAD_LETTER_PREFIX}{topic}",
        bytes,
        key="original key",
        partitions=ENTITY_PARTITIONS,
        retention="time",
        retention_ms=90 * DAY_MS,
        writers=(*writers, "dead-letters"),
        readers=("dead-letters", BROWSER),
    )


ATTEMPTS: Topic[bytes] = Topic(
    "ops.webhooks.attempts",
    bytes,
    key="delivery id",
    partitions=ENTITY_PARTITIONS,
    retention="time",
    retention_ms=30 * DAY_MS,
    writers=("dispatcher",),
    readers=("message-traces", BROWSER),
)

COMPONENTS: Topic[ProcessStatus] = Topic(
    "ops.application.components",
    ProcessStatus,
    key="process",
    partitions=1,
    retention="compacted",
    versions_ms=10 * 60_000,
    writers=("heartbeat", "process-registry"),
    readers=("process-registry", BROWSER),
)
"""Heartbeats of processes; not folded, because no message depends on them."""

AUDIT: Topic[AuditEntry] = Topic(
    "ops.application.logs",
    AuditEntry,
    key="caller",
    partitions=1,
    retention="time",
    retention_ms=365 * DAY_MS,
    writers=("commands",),
    readers=(BROWSER,),
)
"""The audit trail of administrative writes; read by operators, with the tools of the log."""

PROCESS_LOGS: Topic[LogBatch] = Topic(
    "ops.application.process-logs",
    LogBatch,
    key="process",
    partitions=1,
    retention="time",
    retention_ms=2 * DAY_MS,
    writers=("log-publisher",),
    readers=("process-logs", BROWSER),
)
"""The log lines of every process of a fleet, for views of them; a single process publishes none."""

SCHEMAS: dict[str, RecordSchema] = {topic.name: topic.schema for topic in FOLDED if topic.schema is not None}
"""Kinds and versions this process knows, by folded topic."""

SOURCE_NAMES = tuple(spec.name for spec in SOURCES if spec.webhooks)
"""Sources whose webhooks are stored before they are routed."""

ALL: tuple[Topic[Any], ...] = (
    *FOLDED,
    *(topic for name in SOURCE_NAMES for topic in (source_events(name), parked_events(name))),
    *(
        dead_letters(source_events(name).name, writers=(f"sources-{name}/router", f"sources-{name}/parked-replayer"))
        for name in SOURCE_NAMES
    ),
    dead_letters(EVENTS.name, writers=("store",)),
    ATTEMPTS,
    COMPONENTS,
    AUDIT,
    PROCESS_LOGS,
)


OF_PROCESSES = frozenset({COMPONENTS.name, PROCESS_LOGS.name})
"""What processes say about themselves: it is no content of a log, and is not moved with one."""

DEAD_LETTERS: tuple[Topic[bytes], ...] = tuple(topic for topic in ALL if topic.name.startswith(DEAD_LETTER_PREFIX))
BY_NAME: dict[str, Topic[Any]] = {topic.name: topic for topic in ALL}


def dead_letters_of(topic: str) -> Topic[bytes] | None:
    """Where records of a topic are dead-lettered; those of every folded topic share one. None: nowhere."""
    name = EVENTS.name if topic in _FOLDED_NAMES else topic
    return BY_NAME.get(f"{DEAD_LETTER_PREFIX}{name}")


_SOURCE_GROUPS = {"router": "router", "parked-replayer": "unpark", "connector": "connector"}  # actor: suffix


def source_group(source: str, actor: str) -> str:
    """The consumer group an actor of a source joins. Committed offsets belong to it: never rename one."""
    return f"sources.{source}.{_SOURCE_GROUPS[actor]}"


def position_token(position: Position) -> str:
    """The opaque token for read-your-writes: topic index, partition and offset of a folded record."""
    return f"{_FOLDED_NAMES.index(position.topic)}.{position.partition}.{position.offset}"


def parse_position_token(token: str) -> Position:
    """Raises `Refused` for a token `position_token` cannot have produced."""
    try:
        topic, partition, offset = (int(part) for part in token.split("."))
        found = FOLDED[topic] if topic >= 0 else None
    except (ValueError, IndexError):
        found = None
    if found is None or not 0 <= partition < found.partitions or offset < 0:
        raise Refused(f"not a position: {token[:64]!r}; pass a position from a response", field="position")
    return Position(found.name, partition, offset)


_FOLDED_NAMES = [topic.name for topic in FOLDED]
