"""The facts of a running instance, as its API tells them. Values only; None is what the token may not read, or what
this process does not serve.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

TokenState = Literal["accepted", "refused", "missing", "exposed", "unreadable", "unknown"]


class InstanceFacts(Struct, frozen=True, kw_only=True):
    """`asked`: its address was given on the command line, so its data directory may be elsewhere."""

    url: str
    now_ms: int
    asked: bool = False
    failure: str = ""  # why nothing of Airy answers there; then nothing else is known
    token: TokenState = "unknown"  # noqa: S105 - what became of one
    token_problem: str = ""  # why it was not read
    skew_ms: int | None = None  # how far its clock is ahead of ours, to the second
    installation: str = ""  # its name; empty: of an older version
    waiting_for: Mapping[str, str] = {}
    metrics: Mapping[str, float] | None = None  # by sample name with labels
    version: str = ""
    processes: tuple["ProcessView", ...] | None = None
    components: Mapping[str, "ComponentView"] | None = None
    channels: tuple["ChannelView", ...] | None = None
    webhooks: tuple["WebhookView", ...] | None = None
    endpoints: Mapping[str, "EndpointView"] | None = None  # by webhook
    settings: Mapping[str, Any] | None = None  # of this process, by path in the configuration; secrets are None
    plan: "PlanView | None" = None
    last_change: "ConfigChangeView | None" = None
    dead_letters: int | None = None


class FoldView(Struct, frozen=True):
    lag: int = 0
    age_s: float = 0.0


class ProcessView(Struct, frozen=True):
    instance: str
    version: str = ""
    age_s: float = 0.0
    stale: bool = False
    waiting_for: dict[str, str] = {}
    fold: FoldView = FoldView()


class ComponentView(Struct, frozen=True):
    processes: int = 0
    ready: int = 0


class ChannelView(Struct, frozen=True):
    id: str
    source: str
    source_channel_id: str = ""
    metadata: dict[str, Any] = {}

    @property
    def title(self) -> str:
        return f"{self.source} channel {self.metadata.get('name') or self.source_channel_id or self.id}"


class WebhookView(Struct, frozen=True):
    id: str
    url: str
    name: str | None = None
    status: str = "Subscribed"

    @property
    def title(self) -> str:
        return f"webhook {self.name or self.id}"


class AttemptView(Struct, frozen=True):
    status: int | None = None
    error: str | None = None


class EndpointView(Struct, frozen=True):
    """Of a webhook, as the queue has seen it."""

    id: str
    health: str = "ok"
    failures: int = 0
    attempts: int = 0  # recent ones
    failing_since: str | None = None
    last_attempt: AttemptView | None = None


class DifferenceView(Struct, frozen=True):
    path: str


class PlanView(Struct, frozen=True):
    """What a reload of the configuration's file would change, and what forbids it."""

    differences: tuple[DifferenceView, ...] = ()


class ConfigChangeView(Struct, frozen=True):
    """The latest change of the configuration through the API."""

    at: str = ""
    state: str = ""
    problem: str | None = None


class WebhookUrlFacts(Struct, frozen=True):
    """Whether the hosts of subscribed webhooks can be connected to from this machine: the reason why not, by webhook.

    `refused`: those whose address the configuration forbids.
    """

    webhooks: tuple[WebhookView, ...]
    refused: Mapping[str, str] = {}
    unreachable: Mapping[str, str] = {}
