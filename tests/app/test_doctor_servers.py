"""`airy doctor`: faults of a real Redis and of a real Kafka, and the cause and the next step of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from aiokafka.admin import NewTopic

from airy import topics
from airy.cli import main
from airy.store.sqlite import schema
from tests.kit.doctor import Patient, Planted, assert_found, free_port, wrong
from tests.kit.servers.certificates import Authority
from tests.kit.servers.fixtures import needed
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer, Tls
from tests.kit.servers.shared import SharedKafka
from tests.kit.servers.topics import make_topics

pytestmark = [pytest.mark.cluster]
REAL_TIME = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with ExitStack() as exits:
        yield Patient(tmp_path, free_port(), exits)


# --- Redis


@pytest.fixture(scope="module")
def protected_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With users that lack rights."""
    users = {"airy": ">right ~* &* +@all", "poor": ">right ~* &* +@all -xadd -eval", "default": "nopass ~* &* +@all"}
    with needed(), RedisServer(tmp_path_factory.mktemp("protected"), users=users) as server:
        yield server


@pytest.fixture(scope="module")
def tls_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("tls")
    with needed(), RedisServer(folder, tls=Tls(Authority(folder / "authority"))) as server:
        yield server


@pytest.fixture(scope="module")
def replica(protected_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with needed(), RedisServer(tmp_path_factory.mktemp("replica"), replica_of=protected_redis) as server:
        yield server


Servers = tuple[RedisServer, RedisServer, RedisServer]
"""With users, with TLS, a replica."""


@pytest.fixture
def servers(protected_redis: RedisServer, tls_redis: RedisServer, replica: RedisServer) -> Servers:
    return protected_redis, tls_redis, replica


def redis(patient: Patient, url: str, more: str = "") -> None:
    patient.settings = f"queue: {{kind: redis, redis: {{url: '{url}'{more}}}}}"


def config(server: RedisServer, patient: Patient, name: str, value: str) -> None:
    """Set it until the end of the test."""
    before = server.ask("CONFIG", "GET", name)
    patient.exits.callback(server.ask, "CONFIG", "SET", name, "noeviction" if "policy" in name else "256mb")
    assert server.ask("CONFIG", "SET", name, value) == "+OK", before


PlantAtRedis = Callable[[Patient, Servers], None]


def refused(patient: Patient, servers: Servers) -> None:
    redis(patient, f"redis://127.0.0.1:{free_port()}/0")


def unknown_host(patient: Patient, servers: Servers) -> None:
    redis(patient, "redis://redis.invalid:6379/0")


def wrong_password(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url_of("airy:wrong"))


def plain_to_tls(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[1].url.replace("rediss:", "redis:"))


def tls_to_plain(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url.replace("redis:", "rediss:"))


def unknown_authority(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[1].url)


def no_cluster(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url, ", cluster: true")


def missing_file(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[1].url, ", caFile: /nowhere/ca.pem")


def a_replica(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[2].url)


def lacking_rights(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url_of("poor:right"))


def evicting(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url)
    config(servers[0], patient, "maxmemory-policy", "allkeys-lru")


def unbounded(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url)
    config(servers[0], patient, "maxmemory", "0")


def nearly_full(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url)
    config(servers[0], patient, "maxmemory", "1100000")


REDIS_FAULTS = (
    (refused, "redis.reachable", "nothing listens at 127.0.0.1", "systemctl start redis", "problem"),
    (unknown_host, "redis.reachable", "redis.invalid:6379 cannot be resolved", "queue.redis.url", "problem"),
    (wrong_password, "redis.security", "refuses the user or the password", "USER:PASSWORD", "problem"),
    (plain_to_tls, "redis.security", "does not answer as Redis", "rediss://", "problem"),
    (tls_to_plain, "redis.security", "does not speak TLS", "redis://", "problem"),
    (unknown_authority, "redis.security", "is not trusted", "queue.redis.caFile", "problem"),
    (missing_file, "redis.security", "/nowhere/ca.pem", "correct queue.redis.caFile", "problem"),
    (no_cluster, "redis.reachable", "is a server of its own", "queue.redis.cluster: false", "problem"),
    (a_replica, "redis.role", "read-only replica of 127.0.0.1", "queue.redis.sentinels", "problem"),
    (lacking_rights, "redis.commands", "user poor may not use XADD", "airy queue acl", "problem"),
    (evicting, "redis.eviction", "maxmemory-policy is allkeys-lru", "noeviction", "problem"),
    (unbounded, "redis.memory", "maxmemory is not set", "config set maxmemory", "warning"),
    (nearly_full, "redis.memory", "of maxmemory is used", "config set maxmemory", "problem"),
)


def planted(faults: Sequence[tuple[Callable[[Patient, Any], None], str, str, str, str]]) -> list[Any]:
    return [
        pytest.param(Planted(name, check, cause, step, lambda _: None, state), plant, id=name)
        for plant, check, cause, step, state in faults
        for name in (plant.__name__.replace("_", " "),)
    ]


@REAL_TIME
@pytest.mark.parametrize(("fault", "plant"), planted(REDIS_FAULTS))
async def test_a_fault_of_redis_is_named(
    fault: Planted, plant: PlantAtRedis, patient: Patient, servers: Servers
) -> None:
    plant(patient, servers)

    assert_found(fault, await patient.examined())


@REAL_TIME
async def test_a_healthy_redis_has_nothing_to_correct(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url_of("airy:right"))

    results = await patient.examined()

    assert wrong(results) == {}
    assert {each.findings[0].state for each in results if each.check.group == "redis"} == {"ok"}


# --- Kafka


class Broker:
    """Settings for one of its listeners, and patients that use them."""

    def __init__(self, listeners: Mapping[str, Sequence[str]], authority: Path | None = None) -> None:
        self.listeners = listeners
        self.authority = authority

    def settings(self, listener: str, **more: str) -> str:
        given = {"bootstrap": f"'{','.join(self.listeners[listener])}'", "replication": "1", "minInSync": "1"}
        return ", ".join(f"{key}: {value}" for key, value in {**given, "namespace": RIGHT, **more}.items())

    def configure(self, patient: Patient, listener: str, **more: str) -> None:
        webhooks = "components: {webhook: {publisher: {enabled: false}, consumer: {enabled: false}}}"
        patient.settings = f"bus: {{kind: kafka, kafka: {{{self.settings(listener, **more)}}}}}\n{webhooks}"


RIGHT, FEW, EMPTY = (f"doctor-{name}" for name in ("right", "few", "empty"))
"""Namespaces: with all topics as declared; with another number of partitions of one; without topics."""


@pytest.fixture(scope="module")
def open_broker(kafka: SharedKafka, tmp_path_factory: pytest.TempPathFactory) -> Broker:
    broker = Broker({"plain": kafka.bootstrap})
    file = tmp_path_factory.mktemp("doctor") / "airy.yaml"
    file.write_text(f"bus: {{kafka: {{{broker.settings('plain')}}}}}")
    assert main(["topics", "apply", "--yes", "--config", str(file)]) == 0
    anyio.run(make_topics, kafka.bootstrap, [NewTopic(f"{FEW}.{topics.EVENTS.name}", 8, 1)])
    return broker


@pytest.fixture(scope="module")
def protected_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """With users, TLS and access lists; user `airy` has no rights. It has no topics."""
    folder = tmp_path_factory.mktemp("kafka")
    with needed(), KafkaCluster(folder, users={"airy": "right"}, tls=True, acl=True, session_s=60.0) as kafka:
        assert kafka.authority is not None
        names = ("plain", "sasl", "tls", "sasl_tls")
        yield Broker({name: kafka.listener(name) for name in names}, kafka.authority.ca_file)


SASL = {"sasl": "SCRAM-SHA-256", "username": "airy", "password": "right"}
PlantAtKafka = Callable[[Patient, Broker], None]


def no_broker(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", bootstrap=f"'127.0.0.1:{free_port()}'")


def unknown_broker(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", bootstrap="'kafka.invalid:9092'")


def one_address_of_two(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", bootstrap=f"'127.0.0.1:{free_port()},{broker.listeners['plain'][0]}'")


def sasl_is_missing(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "sasl")


def wrong_kafka_password(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "sasl", **{**SASL, "password": "wrong"})


def tls_is_missing(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "tls")


def tls_is_too_much(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", tls="true", caFile=str(broker.authority))


def unknown_kafka_authority(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "sasl_tls", tls="true", **SASL)


def no_client_certificate(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "tls", tls="true", caFile=str(broker.authority))


def missing_certificate_file(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "tls", tls="true", caFile="/nowhere/ca.pem")


def no_rights(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "sasl", **SASL)


def no_topics(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", namespace=EMPTY)


def few_partitions(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", namespace=FEW)


def too_few_replicas(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain", replication="3", minInSync="2")


def no_shared_queue(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain")
    patient.settings = patient.settings.partition("\n")[0]


def store_of_another_cluster(patient: Patient, broker: Broker) -> None:
    broker.configure(patient, "plain")
    patient.data.mkdir()
    with closing(apsw.Connection(str(patient.data / f"store-{RIGHT}-1.db"))) as connection:
        schema.create(connection)
        connection.execute("INSERT INTO last_applied VALUES(1, 0, 7, 4711)")


OPEN_FAULTS = (
    (no_broker, "kafka.reachable", "nothing listens at 127.0.0.1", "start the broker", "problem"),
    (unknown_broker, "kafka.reachable", "kafka.invalid:9092 cannot be resolved", "bootstrap", "problem"),
    (one_address_of_two, "kafka.reachable", "nothing listens at", "bus.kafka.bootstrap", "warning"),
    (no_topics, "kafka.topics", "topics are missing", "airy topics apply", "problem"),
    (few_partitions, "kafka.topics", "has 8 partitions, must have 16", "", "problem"),
    (too_few_replicas, "kafka.topics", "has 1 replica, must have 3", "", "problem"),
    (no_shared_queue, "config.queue", "other processes would not find", "queue.kind: redis", "problem"),
    (store_of_another_cluster, "store.log", "from another log", "rm ", "problem"),
)
PROTECTED_FAULTS = (
    (sasl_is_missing, "kafka.security", "another security protocol", "bus.kafka.sasl", "problem"),
    (wrong_kafka_password, "kafka.security", "refuses the user or the password", "bus.kafka.password", "problem"),
    (tls_is_missing, "kafka.security", "speaks TLS", "bus.kafka.tls: true", "problem"),
    (tls_is_too_much, "kafka.security", "does not speak TLS", "bus.kafka.tls: false", "problem"),
    (unknown_kafka_authority, "kafka.security", "is not trusted", "bus.kafka.caFile", "problem"),
    (no_client_certificate, "kafka.security", "wants a client certificate", "bus.kafka.certFile", "problem"),
    (missing_certificate_file, "kafka.security", "cannot be used", "bus.kafka.caFile", "problem"),
    (no_rights, "kafka.access", "this user may not describe", "airy topics acls", "problem"),
)


@REAL_TIME
@pytest.mark.parametrize(("fault", "plant"), planted(OPEN_FAULTS))
async def test_a_fault_of_kafka_is_named(
    fault: Planted, plant: PlantAtKafka, patient: Patient, open_broker: Broker
) -> None:
    plant(patient, open_broker)

    assert_found(fault, await patient.examined())


@REAL_TIME
@pytest.mark.parametrize(("fault", "plant"), planted(PROTECTED_FAULTS))
async def test_a_wrong_security_of_kafka_is_named(
    fault: Planted, plant: PlantAtKafka, patient: Patient, protected_broker: Broker
) -> None:
    plant(patient, protected_broker)

    assert_found(fault, await patient.examined())


@REAL_TIME
async def test_a_healthy_cluster_has_nothing_to_correct(patient: Patient, open_broker: Broker) -> None:
    open_broker.configure(patient, "plain")

    results = await patient.examined()

    assert wrong(results) == {}
    assert {each.findings[0].state for each in results if each.check.group == "kafka"} == {"ok"}
