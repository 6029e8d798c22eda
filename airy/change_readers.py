"""The readers of changes, declared: the components that act on them, the position from which each starts, and what
happens when some changes are gone.

A reader is a consumer group over the topics whose records produce changes; its committed offsets are its position. The
change pruner keeps what the readers of enabled components have not committed, access lists and lag metrics derive from
this table, and `airy.actors.change_delivery` runs the loop.

A reader without a group runs in every process of its component and reads all partitions of that process's store, from
where the fold is when it starts. It commits nothing: what it can return to is the resume window.
"""

from collections.abc import Collection
from typing import Any, Literal

from msgspec import Struct

from airy import topics
from airy.bus.topic import Topic
from airy.model.change import ChangeKind

Start = Literal["beginning", "end"]
OnGap = Literal["rebuild", "skip"]


class ReaderSpec(Struct, frozen=True, kw_only=True):
    """`start` is where a reader begins that has not committed anything: at the first change that is kept, or behind
    the last record of the log.

    `on_gap` decides what follows when changes after its position were pruned, as after a time in which its component
    was disabled: fold the log again, which yields them with the same ids, or log which offsets it missed and continue.

    With `requires_current_store`, it acts only on partitions whose local store has folded the log up to its end,
    because its effect reads the store.
    """

    name: str
    component: str
    actor: str
    group: str = ""  # empty: see above
    topics: tuple[Topic[Any], ...] = topics.CHANGE_TOPICS
    kinds: frozenset[ChangeKind] = frozenset(ChangeKind)
    start: Start = "end"
    on_gap: OnGap = "skip"
    requires_current_store: bool = True


WEBHOOK_PUBLISHER = ReaderSpec(
    name="webhook-publisher",
    component="webhook-publisher",
    actor="publisher",
    group="webhook-publisher",
    start="beginning",  # a subscription has a position of its own, and no webhook receives what was before it
    on_gap="rebuild",  # each matching change is delivered at least once
    requires_current_store=False,  # it reads webhooks as of now by itself
)

MEDIA_FETCHER = ReaderSpec(
    name="media-fetcher",
    component="media-resolver",
    actor="media-fetcher",
    group="media-fetcher",
    topics=(topics.EVENTS,),
    kinds=frozenset({ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}),
)

BROADCASTER = ReaderSpec(
    name="broadcaster",
    component="api-websocket",
    actor="broadcaster",
)

ALL = (WEBHOOK_PUBLISHER, MEDIA_FETCHER, BROADCASTER)


def of_components(components: Collection[str]) -> tuple[ReaderSpec, ...]:
    return tuple(reader for reader in ALL if reader.component in components)


def groups_of(readers: Collection[ReaderSpec]) -> tuple[ReaderSpec, ...]:
    """Those that are consumer groups."""
    return tuple(reader for reader in readers if reader.group)
