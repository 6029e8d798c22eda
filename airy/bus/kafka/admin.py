"""Looks at a cluster's topics, and makes, alters and opens them: small calls over the client's requests.

A broker says most of what went wrong inside its answer, per topic, and not as an error: every entry is looked at.
Names are those on the wire. What should be is decided elsewhere.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.api import Request
from aiokafka.protocol.metadata import MetadataRequest

from airy.bus.kafka.alter import TOPIC, IncrementalAlterConfigs
from airy.bus.kafka.client import bounded, connection, dispose, started
from airy.bus.kafka.failure import meaning
from airy.bus.kafka.quiet import hush
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import Found, Wanted
from airy.errors import Refused, Unavailable

OK = 0
LOOK_S = 0.1  # between two looks for what was just made
ACL_RESOURCES = {"topic": 2, "group": 3}
ACL_OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
LITERAL, ALLOW, ANY_HOST = 3, 3, "*"

_NEVER = (
    errors.InvalidReplicationFactorError,
    errors.InvalidPartitionsError,
    errors.InvalidConfigurationError,
    errors.InvalidTopicError,
    errors.PolicyViolationError,
    errors.InvalidRequestError,
    errors.SecurityDisabled,
)
_FORBIDDEN = (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError)


@asynccontextmanager
async def administration(settings: KafkaSettings) -> AsyncIterator["Admin"]:
    """Raises `Unavailable` when the cluster cannot be reached."""
    hush()
    client = await started(lambda: _Client(settings), settings)
    try:
        yield Admin(client, settings)
    finally:
        with anyio.CancelScope(shield=True):
            await dispose(client, settings)


class Admin:
    def __init__(self, client: "_Client", settings: KafkaSettings) -> None:
        self._client = client
        self._settings = settings

    async def names(self) -> list[str]:
        """Of every topic this user may see."""
        answer = await self._ask(MetadataRequest(None, allow_auto_topic_creation=False), "listing the topics")
        return [topic["topic"] for topic in answer["topics"]]

    async def found(self, names: Collection[str], keys: Collection[str]) -> dict[str, Found]:
        """Of these topics, those that exist, with these settings of each."""
        there = {name: topic for name, topic in (await self._topics(names)).items() if topic["partitions"]}
        configs = await self._configs(there, keys)
        return {
            name: Found(
                name=name,
                partitions=len(topic["partitions"]),
                config=configs.get(name, {}),
                replication=min(len(each["replicas"]) for each in topic["partitions"]),
            )
            for name, topic in there.items()
            if name in configs
        }

    async def create(self, topics: Sequence[Wanted]) -> None:
        """A topic that somebody else has just made is left as it is. Raises `Refused`, `Unavailable`."""
        entries: list[tuple[Any, ...]] = [
            (topic.name, topic.partitions, topic.replication, [], list(topic.config.items())) for topic in topics
        ]
        request = CreateTopicsRequest(entries, round(self._settings.request_s * 1000), validate_only=False)
        for entry in (await self._ask(request, "creating topics"))["topic_errors"]:
            if entry["error_code"] != errors.TopicAlreadyExistsError.errno:
                _judge(entry, f"creating {entry['topic']}", needs="Create and DescribeConfigs on topics")

    async def alter(self, topics: Mapping[str, Mapping[str, str]]) -> None:
        """Set these settings, and touch no other. Raises `Refused`, `Unavailable`."""
        request = IncrementalAlterConfigs({name: dict(config) for name, config in topics.items()})
        for entry in (await self._ask(request, "altering topics"))["resources"]:
            _judge(entry, f"altering {entry['resource_name']}", needs="AlterConfigs on topics")

    async def allow(self, principal: str, resource: str, name: str, operation: str) -> None:
        """Add one line to the access list; where it is already, nothing changes. Raises `Refused`, `Unavailable`."""
        request = CreateAclsRequest(
            ACL_RESOURCES[resource], name, LITERAL, principal, ANY_HOST, ACL_OPERATIONS[operation], ALLOW
        )
        doing = f"allowing {principal} {operation} on {resource} {name}"
        for entry in (await self._ask(request, doing))["creation_responses"]:
            _judge(entry, doing, needs="Alter on the cluster")

    async def visible(self, wanted: Mapping[str, int]) -> None:
        """Wait until every broker knows these topics with so many partitions, each led by somebody."""
        with anyio.move_on_after(self._settings.call_s):
            while True:
                if await self._all_led(wanted):
                    return
                await anyio.sleep(LOOK_S)
        raise Unavailable("the topics are made, but not every broker knows them yet: `airy topics check` looks again")

    # --- how it works

    async def _all_led(self, wanted: Mapping[str, int]) -> bool:
        for broker in self._client.brokers():
            topics = await self._topics(wanted, broker)
            led = {name: sum(each["leader"] >= 0 for each in topic["partitions"]) for name, topic in topics.items()}
            if any(led.get(name) != partitions for name, partitions in wanted.items()):
                return False
        return True

    async def _topics(self, names: Iterable[str], broker: int | None = None) -> dict[str, dict[str, Any]]:
        request = MetadataRequest(sorted(names), allow_auto_topic_creation=False)
        answer = await self._ask(request, "looking at the topics", broker)
        mute = (OK, errors.UnknownTopicOrPartitionError.errno, errors.LeaderNotAvailableError.errno)
        for topic in answer["topics"]:
            if topic["error_code"] not in mute:
                _judge(topic, f"looking at {topic['topic']}")
        return {topic["topic"]: topic for topic in answer["topics"]}

    async def _configs(self, names: Iterable[str], keys: Collection[str]) -> dict[str, dict[str, str]]:
        resources = [(TOPIC, name, sorted(keys)) for name in names]
        if not resources:
            return {}
        configs = {}
        for entry in (await self._ask(DescribeConfigsRequest(resources), "reading the settings"))["resources"]:
            if entry["error_code"] != errors.UnknownTopicOrPartitionError.errno:  # deleted since
                _judge(entry, f"reading the settings of {entry['resource_name']}")
                configs[entry["resource_name"]] = {
                    each["config_names"]: each["config_value"] or "" for each in entry["config_entries"]
                }
        return configs

    async def _ask(self, request: "Request[Any]", doing: str, broker: int | None = None) -> dict[str, Any]:
        answer = await bounded(self._client.ask(request, broker), self._settings.call_s, doing)
        fields: dict[str, Any] = answer.to_object()
        return fields


def _judge(entry: Mapping[str, Any], doing: str, *, needs: str = "") -> None:
    """Raise what the code in a broker's answer means."""
    if entry["error_code"] == OK:
        return
    kind = errors.for_code(entry["error_code"])
    error = kind(entry.get("error_message") or kind.description)
    if isinstance(error, _NEVER):
        raise Refused(f"{doing}: the cluster refuses: {error}")
    if needs and isinstance(error, _FORBIDDEN):
        raise Refused(f"{doing}: this user may not: an operator's user needs {needs}")
    raise meaning(error, doing)


class _Client:
    """The client under the names of the others."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._client = AIOKafkaClient(**connection(settings))

    async def start(self) -> None:
        await self._client.bootstrap()

    async def stop(self) -> None:
        await self._client.close()

    def brokers(self) -> list[int]:
        return [broker.nodeId for broker in self._client.cluster.brokers()]

    async def ask(self, request: "Request[Any]", broker: int | None) -> Any:
        """The answer of `broker`, or of the controller: only it changes anything on older clusters."""
        controller = self._client.cluster.controller
        if broker is None:
            broker = controller.nodeId if controller is not None else self._client.get_random_node()
        return await self._client.send(broker, request)
