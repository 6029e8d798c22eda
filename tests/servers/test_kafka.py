"""The test brokers: durability of acknowledged records, and their failures."""

import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaConnectionError,
    NoError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
)
from anyio import to_thread

from tests.kit.servers.child import NotStarted
from tests.kit.servers.fixtures import ClusterFactory
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import QUICK_COMPACTION
from tests.kit.servers.shared import SharedKafka

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@asynccontextmanager
async def connected(client: Any) -> AsyncIterator[Any]:
    try:
        await client.start()
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def make_topic(bootstrap: list[str], name: str, *, copies: int = 1, **settings: str) -> None:
    """Retried while too few brokers are in sync: a paused broker is fenced for a while."""
    async with connected(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        code = None
        while code not in {NoError.errno, TopicAlreadyExistsError.errno}:
            assert code in {None, InvalidReplicationFactorError.errno, RequestTimedOutError.errno}
            answer = await admin.create_topics([NewTopic(name, 1, copies, topic_configs=settings)])
            ((_, code, *_),) = answer.topic_errors


async def send(bootstrap: list[str], topic: str, *texts: bytes, key: bytes | None = None, **options: Any) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, **options)
    async with connected(producer):
        for text in texts:
            await producer.send_and_wait(topic, text, key=key)


async def everything(bootstrap: list[str], topic: str) -> list[bytes | None]:
    options = {"bootstrap_servers": bootstrap, "auto_offset_reset": "earliest"}
    async with connected(AIOKafkaConsumer(**options)) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[bytes | None] = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(place, timeout_ms=100)).values():
                found += [record.value for record in records]
        return found


async def test_a_restarted_broker_has_its_address_and_all_acknowledged_records(
    kafka_cluster_factory: ClusterFactory,
) -> None:
    kafka = await to_thread.run_sync(kafka_cluster_factory)
    address = kafka.bootstrap
    await make_topic(address, "events")
    await send(address, "events", b"one", b"two")

    kafka.kill(1)
    with pytest.raises(OSError, match=r"refused|no broker"):
        kafka.metadata()
    await to_thread.run_sync(kafka.start, 1)

    assert kafka.bootstrap == address
    assert await everything(address, "events") == [b"one", b"two"]


async def test_three_brokers_acknowledge_while_one_is_dead(kafka_cluster_factory: ClusterFactory) -> None:
    kafka = await to_thread.run_sync(lambda: kafka_cluster_factory(brokers=3))
    await make_topic(kafka.bootstrap, "events", copies=3)
    await send(kafka.bootstrap, "events", b"before")
    first = await led(kafka)

    kafka.kill(first)
    await send(kafka.bootstrap, "events", b"without one")
    await led(kafka, not_by=first)
    await to_thread.run_sync(kafka.start, first)
    await to_thread.run_sync(kafka.in_sync)

    while set(kafka.partition("events", 0).in_sync) != {1, 2, 3}:  # until the paused broker is in sync again
        await anyio.sleep(0.02)
    assert await everything(kafka.bootstrap, "events") == [b"before", b"without one"]


async def led(kafka: KafkaCluster, *, not_by: int = -1) -> int:
    """The leader of the topic; a broker's metadata may be late, so this is bounded by the test's time-out."""
    while (leader := kafka.leader_of("events", 0)) in {-1, not_by}:
        await anyio.sleep(0.02)
    return leader


async def test_a_paused_broker_accepts_connections_and_never_responds(
    kafka_cluster_factory: ClusterFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.kit.servers.kafka_wire.ANSWER_S", 0.2)
    kafka = await to_thread.run_sync(kafka_cluster_factory)

    kafka.pause(1)
    with pytest.raises(TimeoutError):
        kafka.metadata()
    kafka.resume(1)

    monkeypatch.undo()
    while kafka.metadata().nodes != {1}:  # it may have been fenced for its absence
        await anyio.sleep(0.02)


async def test_compaction_can_be_provoked(kafka: SharedKafka) -> None:
    topic = f"compaction-{os.getpid()}"
    await make_topic(kafka.bootstrap, topic, **QUICK_COMPACTION)
    await send(kafka.bootstrap, topic, b"first", b"second", b"third", key=b"key")

    found = await everything(kafka.bootstrap, topic)
    while b"first" in found:  # bounded by the test's time-out; every try adds a record, so that segments close
        await send(kafka.bootstrap, topic, b"another", key=b"another")
        found = await everything(kafka.bootstrap, topic)

    assert b"third" in found


@pytest.fixture
def guarded(kafka_cluster_factory: ClusterFactory, caplog: pytest.LogCaptureFixture) -> KafkaCluster:
    caplog.set_level(logging.CRITICAL, "aiokafka")  # refusals are expected here
    users = {"admin": "admin-secret", "alice": "alice-secret"}
    return kafka_cluster_factory(users=users, tls=True, acl=True)


async def test_a_broker_with_authentication_accepts_valid_users_only(guarded: KafkaCluster) -> None:
    assert guarded.authority is not None
    await make_topic(guarded.bootstrap, "events")
    known = ssl.create_default_context(cafile=str(guarded.authority.ca_file))
    certified = ssl.create_default_context(cafile=str(guarded.authority.ca_file))
    certified.load_cert_chain(*guarded.authority.issue("admin"))

    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        admin = {"sasl_mechanism": mechanism, "sasl_plain_username": "admin", "sasl_plain_password": "admin-secret"}
        await send(guarded.listener("sasl"), "events", b"sasl", security_protocol="SASL_PLAINTEXT", **admin)
        await send(
            guarded.listener("sasl_tls"), "events", b"both", security_protocol="SASL_SSL", ssl_context=known, **admin
        )
        with pytest.raises(KafkaConnectionError):
            await send(
                guarded.listener("sasl"),
                "events",
                b"no",
                security_protocol="SASL_PLAINTEXT",
                **{**admin, "sasl_plain_password": "wrong"},
            )
        with pytest.raises(ClusterAuthorizationFailedError):
            await send(
                guarded.listener("sasl"),
                "events",
                b"no",
                security_protocol="SASL_PLAINTEXT",
                **{**admin, "sasl_plain_username": "alice", "sasl_plain_password": "alice-secret"},
            )
    await send(guarded.listener("tls"), "events", b"tls", security_protocol="SSL", ssl_context=certified)
    with pytest.raises(KafkaConnectionError):
        await send(guarded.listener("tls"), "events", b"no", security_protocol="SSL", ssl_context=known)
    with pytest.raises(KafkaConnectionError):
        stranger = ssl.create_default_context()
        await send(guarded.listener("tls"), "events", b"no", security_protocol="SSL", ssl_context=stranger)

    assert await everything(guarded.bootstrap, "events") == [*[b"sasl", b"both"] * 3, b"tls"]


async def test_a_broker_that_fails_to_start_reports_its_log(kafka: SharedKafka, tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match=r"(?s)node-1\.log.*num\.io\.threads"):
        KafkaCluster(tmp_path, changed={"num.io.threads": "many"}).__enter__()
