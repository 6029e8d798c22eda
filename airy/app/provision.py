"""`airy topics …`: the page of topics against a cluster. Looks, plans, applies; and refuses to start against another.

What should be and what differs is decided in `airy.bus.provision`, who may do what in `airy.access`.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy import access, topics
from airy.access import Acl
from airy.app import provision_text as text
from airy.app.kafka import kafka_settings
from airy.bus.kafka.admin import Admin, administration
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import Plan, Wanted, desired, diff, ours
from airy.bus.topic import Topic
from airy.config import Config
from airy.errors import Refused

OK = 0
CHANGES = 2  # of `plan`: there is something to apply
INVALID = 78
LOOK_S = 0.1


class Place(Struct, frozen=True, kw_only=True):
    """A cluster, and what it should hold."""

    settings: KafkaSettings
    topics: tuple[Topic[Any], ...]
    replication: int
    min_in_sync: int

    def wanted(self) -> list[Wanted]:
        return desired(
            self.topics,
            named=self.settings.named,
            replication=self.replication,
            min_in_sync=self.min_in_sync,
            record_bytes_max=self.settings.record_bytes_max,
        )


def place(config: Config) -> Place:
    """Raises `Refused` where no cluster is configured."""
    kafka = config.bus.kafka
    if not kafka.bootstrap:
        raise Refused("no cluster is configured: set bus.kafka.bootstrap to host:port, or AIRY_KAFKA")
    return Place(
        settings=kafka_settings(config),
        topics=topics.ALL,
        replication=kafka.replication,
        min_in_sync=kafka.min_in_sync,
    )


async def verify_topics(
    settings: KafkaSettings, topics: Sequence[Topic[Any]], *, replication: int, min_in_sync: int
) -> None:
    """Raises `Refused` with the difference, when the cluster's topics are not these; `Unavailable`, when it cannot be
    asked. A process verifies what it uses (`access.used`): of other topics it may not even know that they exist.
    """
    where = Place(settings=settings, topics=tuple(topics), replication=replication, min_in_sync=min_in_sync)
    async with administration(settings) as admin:
        found = await _plan(admin, where, everything=False)
    if not found.empty:
        lines = "\n".join(text.plan_lines(found))
        where_ = ",".join(settings.bootstrap)
        raise Refused(f"the topics at {where_} are not as this version needs them:\n{lines}\n{_todo(found)}")


async def verify_readable(settings: KafkaSettings, topics: Sequence[Topic[Any]]) -> None:
    """Raises `Refused` unless all of it can be read. Whoever takes a log away, because its topics are not as they
    should be, is not refused for that.
    """
    wanted = Place(settings=settings, topics=tuple(topics), replication=1, min_in_sync=1).wanted()
    async with administration(settings) as admin:
        found = await admin.found([topic.name for topic in wanted], {"cleanup.policy"})
    partitions = {name: topic.partitions for name, topic in found.items()}
    lacking = [topic.name for topic in wanted if partitions.get(topic.name, 0) < topic.partitions]
    if lacking:
        raise Refused(f"the log cannot be read: topics that are not there, or lack partitions: {', '.join(lacking)}")


async def plan(config: Config, *, as_json: bool) -> int:
    """0: nothing to do; 2: something to apply; 78: something that cannot be applied."""
    where = place(config)
    async with administration(where.settings) as admin:
        found = await _plan(admin, where)
    _tell(found, as_json=as_json)
    if not as_json and not found.empty:
        sys.stdout.write(f"{_todo(found)}\n")
    return INVALID if found.refuse else OK if found.empty else CHANGES


async def check(config: Config, *, as_json: bool) -> int:
    """0: the topics are as they should be; 78: they are not, and stderr says how."""
    where = place(config)
    async with administration(where.settings) as admin:
        found = await _plan(admin, where)
    if as_json or found.empty:
        _tell(found, as_json=as_json)
    if not found.empty:
        text.write([*text.plan_lines(found), _todo(found)], sys.stderr)
    return OK if found.empty else INVALID


async def apply(config: Config) -> int:
    """Make the topics as they should be; again and again is harmless. Raises `Refused` before anything is touched."""
    where = place(config)
    async with administration(where.settings) as admin:
        found = await _plan(admin, where)
        if found.refuse:
            raise Refused("\n".join(["nothing was changed:", *text.plan_lines(found)]))
        altered = _alterations(found)
        width = max([len(name) for name in (*(topic.name for topic in found.create), *altered)], default=0)
        for topic in found.create:
            await admin.create([topic])
            _progress(f"+  {topic.name:<{width}}  created")
        for name, settings in altered.items():
            await admin.alter({name: settings})
            _progress(f"~  {name:<{width}}  altered: {', '.join(f'{key}={to}' for key, to in settings.items())}")
        await admin.visible({topic.name: topic.partitions for topic in where.wanted()})
        after = await _settled(admin, where)
    text.write(text.plan_lines(after), sys.stdout)
    if not after.empty:
        raise Refused("the topics are still not as they should be: does somebody else change them, or a policy?")
    return OK


async def _settled(admin: Admin, where: Place) -> Plan:
    """What differs once the cluster shows what was done, which it does a moment after it has agreed to it."""
    after = await _plan(admin, where)
    with anyio.move_on_after(where.settings.call_s):
        while not after.empty:
            await anyio.sleep(LOOK_S)
            after = await _plan(admin, where)
    return after


def acls(config: Config, components: Collection[str], prefix: str) -> list[Acl]:
    """The least access list of each of these components; of every one, if none is named."""
    named = kafka_settings(config).named
    return [
        acl
        for component in access.ACTORS
        if component in components or not components
        for acl in access.acls(component, named=named, principal=f"{prefix}{component}")
    ]


def show_acls(config: Config, lists: Sequence[Acl], form: str) -> int:
    forms = {
        "table": lambda: text.acl_lines(lists),
        "json": lambda: [_json(lists)],
        "kafka-acls": lambda: text.acl_commands(lists, config.bus.kafka.bootstrap),
    }
    text.write(forms[form](), sys.stdout)
    return OK


async def allow(config: Config, lists: Iterable[Acl]) -> int:
    """Add the access lists at the cluster. Takes nothing away."""
    lines = 0
    async with administration(place(config).settings) as admin:
        for lines, acl in enumerate(lists, 1):  # noqa: B007 - the last number is the sum
            await admin.allow(acl.principal, acl.resource, acl.name, acl.operation)
    _progress(f"+  {lines} lines of access lists are there")
    return OK


def show_topics(*, as_json: bool) -> int:
    lines = [_json(text.topic_rows(topics.ALL))] if as_json else text.topic_lines(topics.ALL)
    text.write(lines, sys.stdout)
    return OK


# --- how it works


async def _plan(admin: Admin, where: Place, *, everything: bool = True) -> Plan:
    """With `everything`, also what is in our namespace and not on our page."""
    wanted = where.wanted()
    keys = {key for topic in wanted for key in topic.config}
    found = await admin.found([topic.name for topic in wanted], keys)
    seen = ours(await admin.names(), where.topics, where.settings.namespace) if everything else ()
    return diff(wanted, found, seen)


def _alterations(plan: Plan) -> dict[str, dict[str, str]]:
    altered: dict[str, dict[str, str]] = {}
    for each in plan.alter:
        altered.setdefault(each.name, {})[each.key] = each.wanted
    return altered


def _todo(plan: Plan) -> str:
    if plan.refuse:
        return "what is refused has to be mended by hand first; `airy topics plan` shows the rest"
    return "run `airy topics apply`"


def _tell(plan: Plan, *, as_json: bool) -> None:
    text.write([_json(plan)] if as_json else text.plan_lines(plan), sys.stdout)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _progress(line: str) -> None:
    text.write([line], sys.stdout)
