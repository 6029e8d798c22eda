"""A transfer from a journal to a real cluster and back; interruption by kill -9, and resume."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from msgspec.structs import replace

from airy import topics
from airy.app import log_transfer, topic_admin
from airy.app.kafka import kafka_settings
from airy.app.log_transfer import open_log as log
from airy.app.log_transfer.exporter import ORDER
from airy.app.log_transfer.group_offsets import GROUPS
from airy.app.log_transfer.open_log import open_log
from airy.bus.kafka.admin import open_admin
from airy.bus.memory import MemoryBus, RetentionSettings, open_journal
from airy.clock import SystemClock
from airy.config import BusConfig, Config, DataConfig, KafkaConfig, QueueConfig, RedisConfig
from airy.errors import Refused
from airy.queue.api import NO_ENTRY, QueueEntry, Shard
from airy.secret import Secret
from tests.kit.bus import running
from tests.kit.log_transfer import everything, fill
from tests.kit.queue_redis import patient_queue
from tests.kit.servers.certificates import Authority
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer, Tls
from tests.kit.servers.shared import SharedKafka

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

ROOT = Path(__file__).parents[2]


def on_disk(directory: Path) -> Config:
    return Config(data=DataConfig(directory=str(directory)))


@pytest.fixture
def journal(tmp_path: Path) -> Config:
    return on_disk(tmp_path / "journal")


@pytest.fixture
def cluster(tmp_path: Path, kafka: SharedKafka) -> Config:
    place = KafkaConfig(
        bootstrap=tuple(kafka.bootstrap), namespace=f"moving-{token_hex(4)}", replication=1, min_in_sync=1
    )
    return Config(data=DataConfig(directory=str(tmp_path / "kafka")), bus=BusConfig(kind="kafka", kafka=place))


async def filled(config: Config, *, facts: int) -> None:
    """Recent records, which retention does not delete."""
    with open_journal(Path(config.data.directory) / "journal") as journal:
        async with running(
            MemoryBus(topics.ALL, clock=SystemClock(), journal=journal, retention=RetentionSettings(interval_s=1e6))
        ) as bus:
            await fill(bus, facts=facts, at_ms=SystemClock().now_ms() - 600_000)


async def export(config: Config, path: Path) -> bytes:
    await log_transfer.export(config, str(path))
    return path.read_bytes()


async def load(config: Config, path: Path, *, resume: bool = False) -> None:
    await log_transfer.load(config, str(path), resume=resume)


async def test_a_log_is_transferred_to_a_cluster_and_back(tmp_path: Path, journal: Config, cluster: Config) -> None:
    await filled(journal, facts=150)
    assert (await topic_admin.apply(cluster)).empty
    archive = await export(journal, tmp_path / "one")
    await load(cluster, tmp_path / "one")
    assert await export(cluster, tmp_path / "two") == archive
    back = on_disk(tmp_path / "back")
    await load(back, tmp_path / "two")
    assert await export(back, tmp_path / "three") == archive
    folds = []
    for config in (journal, cluster, back):
        assert (await log_transfer.check(config, str(tmp_path / "one"))).same
        folds.append(await log_transfer.digest(config))
    assert folds[0] == folds[1] == folds[2]
    assert folds[0].changes > 100
    async with open_log(journal) as one, open_log(cluster) as other:
        assert await everything(other) == await everything(one)
        assert await other.end_offsets(ORDER) != await one.end_offsets(ORDER)
        for group in GROUPS:
            assert (await other.committed(group, ORDER)).keys() == (await one.committed(group, ORDER)).keys()


async def test_an_import_into_a_cluster_with_records_is_refused(
    tmp_path: Path, journal: Config, cluster: Config
) -> None:
    await filled(journal, facts=10)
    assert (await topic_admin.apply(cluster)).empty
    await export(journal, tmp_path / "one")
    async with open_log(cluster) as bus:
        await bus.publish([topics.TEMPLATES.record("mine", None)])
    with pytest.raises(BaseExceptionGroup) as caught:
        await load(cluster, tmp_path / "one")
    assert caught.group_contains(Refused, match="the log is not empty")


async def test_a_log_with_altered_topics_can_be_exported(tmp_path: Path, journal: Config, cluster: Config) -> None:
    """Added partitions cannot be removed and prevent a start; an export to another namespace repairs it."""
    await filled(journal, facts=50)
    assert (await topic_admin.apply(cluster)).empty
    archive = await export(journal, tmp_path / "one")
    await load(cluster, tmp_path / "one")
    kafka = cluster.bus.kafka
    admin = AIOKafkaAdminClient(bootstrap_servers=list(kafka.bootstrap))
    await admin.start()
    wire, count = f"{kafka.namespace}.{topics.EVENTS.name}", topics.EVENTS.partitions + 2
    await admin.create_partitions({wire: NewPartitions(total_count=count)})
    await admin.close()
    async with open_admin(kafka_settings(cluster)) as looking:
        await looking.wait_until_visible({wire: count})
    with pytest.raises(Refused, match="has 18 partitions, must have 16"):
        async with open_log(cluster):
            pass
    assert await export(cluster, tmp_path / "two") == archive
    assert (await log_transfer.check(cluster, str(tmp_path / "two"))).same


async def test_a_killed_import_can_be_resumed(tmp_path: Path, journal: Config, cluster: Config) -> None:
    await filled(journal, facts=300)
    assert (await topic_admin.apply(cluster)).empty
    archive = await export(journal, tmp_path / "one")
    _kill_in_the_middle(cluster, tmp_path)
    await load(cluster, tmp_path / "one", resume=True)
    assert await export(cluster, tmp_path / "two") == archive


async def test_a_queue_in_redis_of_another_log_is_refused(
    tmp_path: Path, journal: Config, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its positions would make changes of the new log look delivered."""
    monkeypatch.setattr(log, "RedisQueue", patient_queue)
    await filled(journal, facts=10)
    await export(journal, tmp_path / "one")
    queue = patient_queue(redis_server.url, namespace="used")
    await queue.open()
    entry = QueueEntry((7, 0), (), "lane", "event", "tag.updated", b"{}", 1, "0.0.7")
    await queue.put(Shard(topics.TAGS.name, 0), [entry], after=NO_ENTRY)
    await queue.close()
    other = on_disk(tmp_path / "other")
    for namespace, refused in (("used", True), ("fresh", False)):
        redis = RedisConfig(url=Secret(redis_server.url), namespace=namespace)
        config = replace(other, queue=QueueConfig(kind="redis", redis=redis))
        if refused:
            with pytest.raises(Refused, match=r"belongs to another log.*queue\.redis\.namespace"):
                await load(config, tmp_path / "one")
            assert not (tmp_path / "other" / "journal").exists()
        else:
            await load(config, tmp_path / "one")


async def test_a_redis_with_tls_and_password_is_checked_with_the_configured_credentials(
    tmp_path: Path, journal: Config
) -> None:
    """With the CA and certificate of the configuration, not the system's."""
    authority = Authority(tmp_path / "authority")
    certificate, key = map(str, authority.issue("airy"))
    await filled(journal, facts=10)
    await export(journal, tmp_path / "one")
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(tmp_path / "redis", tls=Tls(authority, clients=True)))
        redis = RedisConfig(url=Secret(server.url), ca_file=str(authority.ca_file), cert_file=certificate, key_file=key)
        other = on_disk(tmp_path / "other")
        await load(replace(other, queue=QueueConfig(kind="redis", redis=redis)), tmp_path / "one")
    assert await export(other, tmp_path / "two") == (tmp_path / "one").read_bytes()


def _kill_in_the_middle(config: Config, directory: Path) -> None:
    """`airy log import` in a process that is killed after writing some partitions."""
    kafka = config.bus.kafka
    (directory / "airy.yaml").write_text(
        f"bus:\n  kind: kafka\n  kafka:\n    namespace: {kafka.namespace}\n    replication: 1\n    minInSync: 1\n"
        f"    bootstrap: [{', '.join(kafka.bootstrap)}]\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.kit.killed_import", str(directory / "one")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=directory,
    )
    assert child.wait(250) == -signal.SIGKILL
