"""`airy doctor`: decisions on facts that a test cannot plant in a real machine or server."""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.facts import DirectoryFacts, MachineFacts, PortFacts
from airy.bus.kafka.admin import TopicStanding
from airy.bus.kafka.inspection import BrokerFacts, KafkaFacts
from airy.queue.redis.inspection import RedisFacts, failure_of, refuses_writes
from airy.queue.redis.memory_guard import MemoryUsage

GIB = 1_073_741_824
MACHINE = MachineFacts((3, 11), (), 20_000, 20_000, "xterm", "utf-8", terminal=True)
DIRECTORY = DirectoryFacts(
    path=Path("data"),
    kind="directory",
    parent=Path("/srv/data"),
    user="airy",
    owner="airy",
    writable=True,
    file_system="ext4",
    free_bytes=50 * GIB,
    total_bytes=100 * GIB,
    free_files=1_000_000,
)
PORT = PortFacts("0.0.0.0", 8080)
REDIS = RedisFacts(
    address="redis:6379", role="master", version="7.2.1", memory=MemoryUsage(1_000, 100_000, "noeviction")
)
KAFKA = KafkaFacts(
    bootstrap=(BrokerFacts("kafka:9092"),),
    brokers=3,
    standings={"events": TopicStanding(partitions=16, in_sync_min=3)},
    min_in_sync=2,
)


@dataclass(frozen=True)
class Case:
    check: str
    facts: Struct
    changed: dict[str, Any]
    cause: str
    step: str
    state: str = "problem"

    def __str__(self) -> str:
        return f"{self.check}: {self.cause}"


def topic(**standing: int) -> dict[str, Any]:
    return {"standings": {"events": TopicStanding(partitions=16, **standing)}}


CASES = (
    Case("machine.python", MACHINE, {"python": (3, 10)}, "Python 3.10; Airy needs 3.11", "install Airy with"),
    Case("machine.packages", MACHINE, {"missing_packages": ("uvloop",)}, "uvloop", "pip install uvloop"),
    Case("machine.files", MACHINE, {"open_files_max": 64}, "may open 64 files", "ulimit -n 4096"),
    Case("machine.terminal", MACHINE, {"term": "dumb"}, "cannot draw", "export TERM=", "warning"),
    Case("machine.terminal", MACHINE, {"encoding": "ascii"}, "not UTF-8", "export LC_ALL=", "warning"),
    Case("data.directory", DIRECTORY, {"writable": False, "owner": "root"}, "belongs to root", "sudo chown -R airy"),
    Case("data.space", DIRECTORY, {"free_bytes": 1_000_000}, "nearly full", "free space"),
    Case("data.space", DIRECTORY, {"free_bytes": GIB // 2}, "is filling up: 512 MiB", "free space", "warning"),
    Case("data.space", DIRECTORY, {"free_files": 3}, "has 3 inodes left", "free space"),
    Case("data.space", DIRECTORY, {"write_error": errno.EDQUOT}, "is full (a quota)", "free space"),
    Case("data.space", DIRECTORY, {"write_error": errno.EIO}, "input/output error", "dmesg"),
    Case("data.file-system", DIRECTORY, {"file_system": "nfs4"}, "is on nfs4", "a local disk"),
    Case("http.port", PORT, {"error": errno.EACCES}, "may not listen on port 8080", "CAP_NET_BIND_SERVICE"),
    Case("http.port", PORT, {"error": errno.EADDRINUSE}, "a process of another user", "sudo ss -ltnp"),
    Case("http.port", PORT, {"error": -2}, "0.0.0.0 is not an address", "set http.host"),
    Case("redis.reachable", REDIS, {"failure": "loading"}, "is loading", "wait"),
    Case("redis.reachable", REDIS, {"failure": "timeout"}, "does not answer", "firewall"),
    Case("redis.reachable", REDIS, {"failure": "sentinels"}, "called redis", "sentinel masters"),
    Case("redis.role", REDIS, {"mode": "cluster"}, "is a node of a cluster", "queue.redis.cluster: true"),
    Case("redis.version", REDIS, {"version": "6.2.14"}, "runs Redis 6.2.14", "upgrade Redis to 7"),
    Case("redis.writes", REDIS, {"writes_refused": "no space"}, "refuses writes: no space", "free space"),
    Case("redis.memory", REDIS, {"memory": MemoryUsage(70, 100, "noeviction")}, "70%", "deliver some", "warning"),
    Case("redis.clock", REDIS, {"skew_ms": 90_000}, "the clock of Redis is 90 s ahead", "timedatectl"),
    Case("redis.clock", REDIS, {"skew_ms": -9_000}, "9 s behind", "timedatectl", "warning"),
    Case("kafka.reachable", KAFKA, {"bootstrap": (BrokerFacts("k:1", "timeout"),)}, "k:1 does not answer", "firewall"),
    Case(
        "kafka.security", KAFKA, {"bootstrap": (BrokerFacts("k:1", "mechanism", "PLAIN"),)}, "PLAIN", "bus.kafka.sasl"
    ),
    Case("kafka.cluster", KAFKA, {"failure": "it took 15 s"}, "it took 15 s", "advertised.listeners"),
    Case("kafka.access", KAFKA, {"plan_denied": "not authorized"}, "cannot be read", "airy topics acls"),
    Case("kafka.replicas", KAFKA, topic(in_sync_min=1), "fewer than 2 replicas are in sync", "start the brokers"),
    Case("kafka.replicas", KAFKA, topic(leaderless=4), "have no leader: events", "start the brokers"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cause_and_the_next_step_are_named(case: Case) -> None:
    (check,) = (each for each in CHECKS if each.name == case.check)
    assert {finding.state for finding in check.decide(case.facts)} == {"ok"}

    (finding,) = check.decide(replace(case.facts, **case.changed))

    assert finding.state == case.state
    assert case.cause in finding.text
    assert case.step in finding.step


def test_a_user_of_kafka_needs_the_topics_of_one_component() -> None:
    (check,) = (each for each in CHECKS if each.name == "kafka.access")
    standings = {"events": TopicStanding(partitions=16), "tags": TopicStanding(denied=True)}
    facts = replace(KAFKA, standings=standings, components={"api-admin": frozenset({"events", "tags"})})

    assert check.decide(facts)[0].text == "this user may not describe tags"
    facts = replace(facts, components={**facts.components, "webhook-consumer": frozenset({"events"})})
    assert check.decide(facts)[0].text == "the topics of webhook-consumer can be described"


def test_the_innermost_reason_of_a_failure_decides_its_kind() -> None:
    try:
        try:
            raise ConnectionRefusedError
        except OSError as error:
            raise RuntimeError("Error 111 connecting to redis") from error
    except RuntimeError as error:
        assert failure_of(error) == "refused"
    assert failure_of(RuntimeError("-NOAUTH Authentication required")) == "password"
    assert failure_of(RuntimeError("Protocol error")) == "protocol"


def test_a_redis_that_could_not_append_to_its_file_refuses_writes() -> None:
    assert refuses_writes({"aof_last_write_status": "err"})
    assert not refuses_writes({"aof_last_write_status": "ok"})
