"""Describes, creates and alters topics of a cluster, and creates ACLs: small calls over the client's requests.

A broker reports most errors inside its response, per topic: every entry is checked. Names are those on the wire.
`airy.bus.provision` decides what to change.
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
from msgspec import Struct

from airy.bus.kafka import log_throttle
from airy.bus.kafka.alter_configs import TOPIC, IncrementalAlterConfigs
from airy.bus.kafka.client import connect, connection_options, dispose, with_deadline
from airy.bus.kafka.errors import translate
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import ActualTopic, DesiredTopic
from airy.errors import Refused, Unavailable

OK = 0
_NO_PARTITIONS = (OK, errors.UnknownTopicOrPartitionError.errno, errors.LeaderNotAvailableError.errno)
POLL_S = 0.1  # between two checks for topics just created
ACL_RESOURCES = {"topic": 2, "group": 3}
ACL_OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
LITERAL, ALLOW, ANY_HOST = 3, 3, "*"

_REFUSED = (
    errors.InvalidReplicationFactorError,
    errors.InvalidPartitionsError,
    errors.InvalidConfigurationError,
    errors.InvalidTopicError,
    errors.PolicyViolationError,
    errors.InvalidRequestError,
    errors.SecurityDisabled,
)
_FORBIDDEN = (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError)


class TopicStanding(Struct, frozen=True, kw_only=True):
    """How the partitions of a topic are, apart from its settings. `denied`: this user may not describe the topic."""

    denied: bool = False
    partitions: int = 0
    leaderless: int = 0
    in_sync_min: int = 0  # replicas in sync, of the partition with the fewest


@asynccontextmanager
async def open_admin(settings: KafkaSettings) -> AsyncIterator["Admin"]:
    """Raises `Unavailable` when the cluster cannot be reached."""
    log_throttle.install()
    client = await connect(lambda: _AdminConnection(settings), settings)
    try:
        yield Admin(client, settings)
    finally:
        with anyio.CancelScope(shield=True):
            await dispose(client, settings)


class Admin:
    def __init__(self, client: "_AdminConnection", settings: KafkaSettings) -> None:
        self._client = client
        self._settings = settings

    async def topic_names(self) -> list[str]:
        """All topics this user may describe."""
        response = await self._send(MetadataRequest(None, allow_auto_topic_creation=False), "listing the topics")
        return [topic["topic"] for topic in response["topics"]]

    @property
    def broker_count(self) -> int:
        return len(self._client.brokers())

    async def standings(self, names: Iterable[str]) -> dict[str, TopicStanding]:
        """Of the topics that exist or are denied."""
        request = MetadataRequest(sorted(names), allow_auto_topic_creation=False)
        response = await self._send(request, "describing the topics")
        return {
            topic["topic"]: _standing(topic)
            for topic in response["topics"]
            if topic["partitions"] or topic["error_code"] == errors.TopicAuthorizationFailedError.errno
        }

    async def describe_topics(self, names: Collection[str], keys: Collection[str]) -> dict[str, ActualTopic]:
        """Those of these topics that exist, with these settings of each."""
        there = {name: topic for name, topic in (await self._topics(names)).items() if topic["partitions"]}
        configs = await self._configs(there, keys)
        return {
            name: ActualTopic(
                name=name,
                partitions=len(topic["partitions"]),
                config=configs.get(name, {}),
                replication=min(len(each["replicas"]) for each in topic["partitions"]),
            )
            for name, topic in there.items()
            if name in configs
        }

    async def create_topics(self, topics: Sequence[DesiredTopic]) -> None:
        """A topic that exists already is left as it is. Raises `Refused`, `Unavailable`."""
        entries: list[tuple[Any, ...]] = [
            (topic.name, topic.partitions, topic.replication, [], list(topic.config.items())) for topic in topics
        ]
        request = CreateTopicsRequest(entries, round(self._settings.request_s * 1000), validate_only=False)
        for entry in (await self._send(request, "creating topics"))["topic_errors"]:
            if entry["error_code"] != errors.TopicAlreadyExistsError.errno:
                _raise_for(entry, f"creating {entry['topic']}", needs="Create and DescribeConfigs on topics")

    async def alter_topics(self, topics: Mapping[str, Mapping[str, str]]) -> None:
        """Set these settings and no others. Raises `Refused`, `Unavailable`."""
        request = IncrementalAlterConfigs({name: dict(config) for name, config in topics.items()})
        for entry in (await self._send(request, "altering topics"))["resources"]:
            _raise_for(entry, f"altering {entry['resource_name']}", needs="AlterConfigs on topics")

    async def create_acl(self, principal: str, resource: str, name: str, operation: str) -> None:
        """Idempotent. Raises `Refused`, `Unavailable`."""
        request = CreateAclsRequest(
            ACL_RESOURCES[resource], name, LITERAL, principal, ANY_HOST, ACL_OPERATIONS[operation], ALLOW
        )
        doing = f"allowing {principal} {operation} on {resource} {name}"
        for entry in (await self._send(request, doing))["creation_responses"]:
            _raise_for(entry, doing, needs="Alter on the cluster")

    async def wait_until_visible(self, wanted: Mapping[str, int]) -> None:
        """Wait until every broker knows these topics with their partition counts and a leader of each partition."""
        with anyio.move_on_after(self._settings.call_s):
            while True:
                if await self._all_led(wanted):
                    return
                await anyio.sleep(POLL_S)
        raise Unavailable(
            "the topics are created, but not every broker knows them yet: `airy topics check` checks again"
        )

    # --- implementation

    async def _all_led(self, wanted: Mapping[str, int]) -> bool:
        for broker in self._client.brokers():
            topics = await self._topics(wanted, broker)
            led = {name: sum(each["leader"] >= 0 for each in topic["partitions"]) for name, topic in topics.items()}
            if any(led.get(name) != partitions for name, partitions in wanted.items()):
                return False
        return True

    async def _topics(self, names: Iterable[str], broker: int | None = None) -> dict[str, dict[str, Any]]:
        request = MetadataRequest(sorted(names), allow_auto_topic_creation=False)
        response = await self._send(request, "describing the topics", broker)
        for topic in response["topics"]:
            if topic["error_code"] not in _NO_PARTITIONS:
                _raise_for(topic, f"describing {topic['topic']}")
        return {topic["topic"]: topic for topic in response["topics"]}

    async def _configs(self, names: Iterable[str], keys: Collection[str]) -> dict[str, dict[str, str]]:
        resources = [(TOPIC, name, sorted(keys)) for name in names]
        if not resources:
            return {}
        configs = {}
        for entry in (await self._send(DescribeConfigsRequest(resources), "reading the settings"))["resources"]:
            if entry["error_code"] != errors.UnknownTopicOrPartitionError.errno:  # deleted since
                _raise_for(entry, f"reading the settings of {entry['resource_name']}")
                configs[entry["resource_name"]] = {
                    each["config_names"]: each["config_value"] or "" for each in entry["config_entries"]
                }
        return configs

    async def _send(self, request: "Request[Any]", doing: str, broker: int | None = None) -> dict[str, Any]:
        response = await with_deadline(self._client.send(request, broker), self._settings.call_s, doing)
        fields: dict[str, Any] = response.to_object()
        return fields


def _standing(topic: Mapping[str, Any]) -> TopicStanding:
    partitions = topic["partitions"]
    return TopicStanding(
        denied=topic["error_code"] == errors.TopicAuthorizationFailedError.errno,
        partitions=len(partitions),
        leaderless=sum(each["leader"] < 0 for each in partitions),
        in_sync_min=min((len(each["isr"]) for each in partitions), default=0),
    )


def _raise_for(entry: Mapping[str, Any], doing: str, *, needs: str = "") -> None:
    """Raise the translated error of an entry of a response, if it has one."""
    if entry["error_code"] == OK:
        return
    kind = errors.for_code(entry["error_code"])
    error = kind(entry.get("error_message") or kind.description)
    if isinstance(error, _REFUSED):
        raise Refused(f"{doing}: the cluster refuses it: {error}")
    if needs and isinstance(error, _FORBIDDEN):
        raise Refused(f"{doing}: this user may not: an operator needs {needs}")
    raise translate(error, doing)


class _AdminConnection:
    """Adapts the client to `Client`, and sends requests."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._client = AIOKafkaClient(**connection_options(settings))

    async def start(self) -> None:
        await self._client.bootstrap()

    async def stop(self) -> None:
        await self._client.close()

    def brokers(self) -> list[int]:
        return [broker.nodeId for broker in self._client.cluster.brokers()]

    async def send(self, request: "Request[Any]", broker: int | None) -> Any:
        """The response of `broker`, or of the controller: older clusters accept changes there only."""
        controller = self._client.cluster.controller
        if broker is None:
            broker = controller.nodeId if controller is not None else self._client.get_random_node()
        return await self._client.send(broker, request)
