"""`airy topics …` against a real broker: plan, apply, check, and refusal."""

import json
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

import anyio
import pytest

from airy import process, topics
from airy.app.topic_admin import apply, verify_topics
from airy.bus.kafka import KafkaSettings
from airy.bus.kafka.admin import Admin, open_admin
from airy.bus.provision import ActualTopic, DesiredTopic
from airy.cli import main
from airy.config_file import load
from airy.errors import Refused, Unavailable
from tests.kit.servers.fixtures import ClusterFactory
from tests.kit.servers.shared import SharedKafka

pytestmark = pytest.mark.cluster

NUMBERS = count()
OF_EACH = len(topics.ALL)
NOTHING: dict[str, str] = {}
T = TypeVar("T")


class Namespace:
    """A namespace of its own, configured in the working directory."""

    def __init__(self, kafka: SharedKafka, folder: Path) -> None:
        self.namespace = f"topics-{token_hex(4)}-{next(NUMBERS)}"
        self.settings = KafkaSettings(
            bootstrap=tuple(kafka.bootstrap), namespace=self.namespace, request_s=60.0, call_s=120.0
        )
        self._file = folder / "airy.yaml"
        self.configure(replication=1, minInSync=1)

    def configure(self, **given: object) -> None:
        kafka = {"bootstrap": self.settings.bootstrap, "namespace": self.namespace, **given}
        self._file.write_text(json.dumps({"bus": {"kind": "kafka", "kafka": kafka}}))

    def wire(self, name: str) -> str:
        return self.settings.wire_name(name)

    def ask(self, question: Callable[[Admin], Awaitable[T]]) -> T:
        async def inside() -> T:
            async with open_admin(self.settings) as admin:
                return await question(admin)

        return anyio.run(inside)

    def make(self, name: str, partitions: int, **config: str) -> None:
        """Create a topic that differs from the declared one."""
        topic = DesiredTopic(name=self.wire(name), partitions=partitions, replication=1, config=config, retention="")
        self.ask(lambda admin: admin.create_topics([topic]))
        self.ask(lambda admin: admin.wait_until_visible({topic.name: partitions}))

    def alter(self, name: str, **config: str) -> None:
        """Alter a topic without Airy. Returns once the cluster reports the change, a moment after it accepted it."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        self.ask(lambda admin: admin.alter_topics({self.wire(name): settings}))
        while (found := self.look(name, *settings)) is None or found.config != settings:
            time.sleep(0.02)  # the test's time-out is the bound

    def look(self, name: str, *keys: str) -> ActualTopic | None:
        return self.ask(lambda admin: admin.describe_topics([self.wire(name)], keys)).get(self.wire(name))

    def exist(self) -> set[str]:
        return {name for name in self.ask(lambda admin: admin.topic_names()) if name.startswith(f"{self.namespace}.")}


@pytest.fixture
def cluster(kafka: SharedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "configure_log", lambda _: None)  # it would affect the whole process
    for name in ("AIRY_CONFIG", "AIRY_KAFKA", "AIRY_REDIS", "AIRY_DATA"):
        monkeypatch.delenv(name, raising=False)
    return Namespace(kafka, tmp_path)


def test_plan_apply_and_check_are_repeatable(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "check"]) == 78
    assert f"+  {cluster.wire(topics.EVENTS.name)}" in capsys.readouterr().err
    assert main(["topics", "plan"]) == 2
    assert cluster.exist() == set(), "planning makes nothing"

    assert main(["topics", "apply", "--yes"]) == 0

    assert cluster.exist() == {cluster.wire(topic.name) for topic in topics.ALL}
    capsys.readouterr()
    assert main(["topics", "plan"]) == 0
    assert main(["topics", "check"]) == 0
    assert main(["topics", "apply", "--yes"]) == 0
    assert capsys.readouterr().out == f"=  {OF_EACH} right\n" * 2, "of plan and check"


def test_topics_are_created_as_declared(cluster: Namespace) -> None:
    main(["topics", "apply", "--yes"])

    keys = ("cleanup.policy", "retention.ms", "min.insync.replicas")
    events, tags = cluster.look(topics.EVENTS.name, *keys), cluster.look(topics.TAGS.name, *keys)
    raw = cluster.look("source.facebook.events", *keys)
    assert events is not None and tags is not None and raw is not None
    assert (events.partitions, events.replication) == (16, 1)
    assert events.config == {"cleanup.policy": "delete", "retention.ms": "-1", "min.insync.replicas": "1"}
    assert (tags.partitions, tags.config["cleanup.policy"]) == (4, "delete")
    assert raw.config["retention.ms"] == str(14 * topics.DAY_MS)


def test_drift_is_reported_and_repaired_and_other_settings_stay(
    cluster: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["topics", "apply", "--yes"])
    wire = cluster.wire(topics.EVENTS.name)
    cluster.alter(topics.EVENTS.name, retention_ms="1000", segment_bytes="123456789")
    capsys.readouterr()

    assert main(["topics", "plan", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["alter"] == [
        {"name": wire, "key": "retention.ms", "actual": "1000", "desired": "-1"}
    ]
    assert main(["topics", "check"]) == 78
    assert "retention.ms" in capsys.readouterr().err
    assert main(["topics", "apply", "--yes"]) == 0

    events = cluster.look(topics.EVENTS.name, "retention.ms", "segment.bytes")
    assert events is not None
    assert events.config == {"retention.ms": "-1", "segment.bytes": "123456789"}


def test_a_different_partition_count_refuses_the_whole_plan(
    cluster: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.make(topics.EVENTS.name, 8)

    assert main(["topics", "plan"]) == 78
    assert "has 8 partitions, must have 16" in capsys.readouterr().out
    assert main(["topics", "apply", "--yes"]) == 78

    assert "nothing was changed" in capsys.readouterr().err
    assert cluster.exist() == {cluster.wire(topics.EVENTS.name)}
    found = cluster.look(topics.EVENTS.name)
    assert found is not None
    assert found.partitions == 8


def test_a_different_replication_is_refused(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    main(["topics", "apply", "--yes"])
    cluster.configure(replication=2, minInSync=1)

    assert main(["topics", "check"]) == 78

    assert "has 1 replica, must have 2" in capsys.readouterr().err


def test_more_replicas_than_brokers_is_refused_with_the_clusters_message(
    cluster: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.configure(replication=9, minInSync=1)

    assert main(["topics", "apply", "--yes"]) == 78

    assert "only 1 broker" in capsys.readouterr().err


def test_an_undeclared_topic_is_reported_and_left_alone(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.make("old.things", 1)
    main(["topics", "apply", "--yes"])
    capsys.readouterr()

    assert main(["topics", "plan"]) == 0

    assert f"?  {cluster.wire('old.things')}  unknown" in capsys.readouterr().out
    assert cluster.look("old.things") is not None


async def both(cluster: Namespace) -> list[bool]:
    right: list[bool] = []

    async def one() -> None:
        right.append((await apply(load("airy.yaml", NOTHING))).empty)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    return right


def test_two_concurrent_applies_both_succeed(cluster: Namespace) -> None:
    assert anyio.run(both, cluster) == [True, True]


def test_apply_without_a_terminal_needs_confirmation(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "apply"]) == 64

    assert "--yes" in capsys.readouterr().err
    assert cluster.exist() == set()


def test_a_start_with_different_topics_is_refused_with_the_difference(cluster: Namespace) -> None:
    async def verify(replication: int = 1) -> None:
        await verify_topics(cluster.settings, topics.ALL, replication=replication, min_in_sync=1)

    with pytest.raises(Refused, match=r"(?s)\+  \S+communication.events.*run `airy topics apply`"):
        anyio.run(verify)
    main(["topics", "apply", "--yes"])
    anyio.run(verify)
    with pytest.raises(Refused, match="has 1 replica, must have 3"):
        anyio.run(verify, 3)


def test_an_unreachable_cluster_is_unavailable(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    away = KafkaSettings(bootstrap=("127.0.0.1:1",))

    with pytest.raises(Unavailable, match="check the address"):
        anyio.run(lambda: verify_topics(away, topics.ALL, replication=1, min_in_sync=1))
    assert main(["topics", "check", "--kafka", "127.0.0.1:1"]) == 75
    assert "check the address" in capsys.readouterr().err


def test_a_cluster_without_an_authorizer_refuses_acls(cluster: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "acls", "http", "--apply"]) == 78

    assert "No Authorizer" in capsys.readouterr().err


def test_plan_and_check_create_no_topic_with_auto_creation(
    kafka_cluster_factory: ClusterFactory, tmp_path: Path, cluster: Namespace
) -> None:
    """On a cluster that creates a topic when metadata of it is requested."""
    kafka = kafka_cluster_factory(changed={"auto.create.topics.enable": "true"}, session_s=60.0)
    generous = Namespace(SharedKafka(kafka.bootstrap), tmp_path)

    assert main(["topics", "plan"]) == 2

    generous.make("later", 1)  # the cluster creates topics in order: an earlier one would exist by then
    assert generous.exist() == {generous.wire("later")}
