"""Compares a cluster's topics and ACLs with `airy.topics`, plans and applies the difference.

`airy.bus.provision` decides what a topic should be like and what differs; `airy.acls` decides the access lists.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import anyio
from msgspec import Struct

from airy import acls, topics
from airy.acls import Acl
from airy.app import topic_text as text
from airy.app.kafka import kafka_settings
from airy.bus.kafka.admin import Admin, open_admin
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import DesiredTopic, TopicPlan, desired_topics, owned_topics, plan_topics
from airy.bus.topic import Topic
from airy.config import Config
from airy.errors import Refused

OK = 0
CHANGES = 2  # exit code of `plan`: there are changes to apply
INVALID = 78
POLL_S = 0.1


class ClusterTopics(Struct, frozen=True, kw_only=True):
    """A cluster, and the topics it should have."""

    settings: KafkaSettings
    topics: tuple[Topic[Any], ...]
    replication: int
    min_in_sync: int

    def desired(self) -> list[DesiredTopic]:
        return desired_topics(
            self.topics,
            wire_name=self.settings.wire_name,
            replication=self.replication,
            min_in_sync=self.min_in_sync,
            record_bytes_max=self.settings.record_bytes_max,
        )


class TopicChange(Struct, frozen=True, kw_only=True):
    """What was done to a topic."""

    name: str
    result: Literal["created", "altered"]
    partitions: int | None = None  # of one that was created
    settings: Mapping[str, str]


def configured_cluster(config: Config) -> ClusterTopics:
    """Raises `Refused` if no cluster is configured."""
    kafka = config.bus.kafka
    if not kafka.bootstrap:
        raise Refused("no cluster is configured: set bus.kafka.bootstrap to host:port, or AIRY_KAFKA")
    return ClusterTopics(
        settings=kafka_settings(config),
        topics=topics.ALL,
        replication=kafka.replication,
        min_in_sync=kafka.min_in_sync,
    )


async def verify_topics(
    settings: KafkaSettings, topics: Sequence[Topic[Any]], *, replication: int, min_in_sync: int
) -> None:
    """Raises `Refused` with the difference if the cluster's topics differ, `Unavailable` if it does not respond.

    A process verifies only the topics it uses (`acls.used`): it may lack the right to describe others.
    """
    cluster = ClusterTopics(settings=settings, topics=tuple(topics), replication=replication, min_in_sync=min_in_sync)
    async with open_admin(settings) as admin:
        found = await _plan(admin, cluster, everything=False)
    if not found.empty:
        lines = "\n".join(text.plan_lines(found))
        brokers = ",".join(settings.bootstrap)
        raise Refused(f"the topics at {brokers} are not as this version needs them:\n{lines}\n{_next_step(found)}")


async def verify_readable(settings: KafkaSettings, topics: Sequence[Topic[Any]]) -> None:
    """Raises `Refused` unless every partition can be read. Other differences are accepted: an export may be the way to
    repair them.
    """
    desired = ClusterTopics(settings=settings, topics=tuple(topics), replication=1, min_in_sync=1).desired()
    async with open_admin(settings) as admin:
        found = await admin.describe_topics([topic.name for topic in desired], {"cleanup.policy"})
    partitions = {name: topic.partitions for name, topic in found.items()}
    lacking = [topic.name for topic in desired if partitions.get(topic.name, 0) < topic.partitions]
    if lacking:
        raise Refused(f"the log cannot be read: topics are missing or lack partitions: {', '.join(lacking)}")


async def plan(config: Config) -> TopicPlan:
    """What `apply` would change."""
    cluster = configured_cluster(config)
    async with open_admin(cluster.settings) as admin:
        return await _plan(admin, cluster)


def exit_code(found: TopicPlan) -> int:
    """0: nothing to apply; 2: changes to apply; 78: changes that cannot be applied."""
    return INVALID if found.refuse else OK if found.empty else CHANGES


def plan_lines(found: TopicPlan) -> list[str]:
    """For people, with the next step."""
    return text.plan_lines(found) if found.empty else [*text.plan_lines(found), _next_step(found)]


async def apply(config: Config, on_change: Callable[[TopicChange], object] = lambda _: None) -> TopicPlan:
    """Apply the plan, and return what then differs: nothing. Idempotent; calls `on_change` after each change.

    Raises `Refused` before the first change if part of the plan cannot be applied.
    """
    cluster = configured_cluster(config)
    async with open_admin(cluster.settings) as admin:
        found = await _plan(admin, cluster)
        if found.refuse:
            raise Refused("\n".join(["nothing was changed:", *text.plan_lines(found)]))
        for topic in found.create:
            await admin.create_topics([topic])
            on_change(
                TopicChange(name=topic.name, result="created", partitions=topic.partitions, settings=topic.config)
            )
        for name, settings in _alterations(found).items():
            await admin.alter_topics({name: settings})
            on_change(TopicChange(name=name, result="altered", settings=settings))
        await admin.wait_until_visible({topic.name: topic.partitions for topic in cluster.desired()})
        after = await _settled(admin, cluster)
    if not after.empty:
        differences = "\n".join(text.plan_lines(after))
        raise Refused(
            f"the topics still differ: does another tool or a policy of the cluster change them?\n{differences}"
        )
    return after


async def _settled(admin: Admin, cluster: ClusterTopics) -> TopicPlan:
    """The remaining difference, once the cluster shows the applied changes, which takes a moment after its response."""
    after = await _plan(admin, cluster)
    with anyio.move_on_after(cluster.settings.call_s):
        while not after.empty:
            await anyio.sleep(POLL_S)
            after = await _plan(admin, cluster)
    return after


def component_acls(config: Config, components: Collection[str], prefix: str) -> list[Acl]:
    """The minimal access lists of these components; of all, if none is named."""
    wire_name = kafka_settings(config).wire_name
    return [
        acl
        for component in acls.ACTORS
        if component in components or not components
        for acl in acls.required_acls(component, wire_name=wire_name, principal=f"{prefix}{component}")
    ]


async def allow(config: Config, lists: Iterable[Acl]) -> None:
    """Create the ACLs at the cluster. Removes none."""
    async with open_admin(configured_cluster(config).settings) as admin:
        for acl in lists:
            await admin.create_acl(acl.principal, acl.resource, acl.name, acl.operation)


# --- planning


async def _plan(admin: Admin, cluster: ClusterTopics, *, everything: bool = True) -> TopicPlan:
    """`everything`: also report topics of our namespace that `airy.topics` does not declare."""
    desired = cluster.desired()
    keys = {key for topic in desired for key in topic.config}
    found = await admin.describe_topics([topic.name for topic in desired], keys)
    seen = owned_topics(await admin.topic_names(), cluster.topics, cluster.settings.namespace) if everything else ()
    return plan_topics(desired, found, seen)


def _alterations(plan: TopicPlan) -> dict[str, dict[str, str]]:
    altered: dict[str, dict[str, str]] = {}
    for each in plan.alter:
        altered.setdefault(each.name, {})[each.key] = each.desired
    return altered


def _next_step(plan: TopicPlan) -> str:
    if plan.refuse:
        return "repair what is refused by hand first; `airy topics plan` shows the rest"
    return "run `airy topics apply`"
