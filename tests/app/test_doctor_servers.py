"""`airy doctor`: faults of a real Redis and of a real Kafka, and the cause and the next step of each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.doctor import Patient, Planted, assert_found, free_port, wrong
from tests.kit.servers.certificates import Authority
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer, Tls

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


REDIS_FAULTS: tuple[tuple[Planted, PlantAtRedis], ...] = tuple(
    (Planted(plant.__name__.replace("_", " "), check, cause, step, lambda _: None, state), plant)
    for plant, check, cause, step, state in (
        (refused, "redis.reachable", "nothing listens at 127.0.0.1", "systemctl start redis", "problem"),
        (unknown_host, "redis.reachable", "redis.invalid:6379 cannot be resolved", "queue.redis.url", "problem"),
        (wrong_password, "redis.security", "refuses the user or the password", "USER:PASSWORD", "problem"),
        (plain_to_tls, "redis.security", "does not answer as Redis", "rediss://", "problem"),
        (tls_to_plain, "redis.security", "does not speak TLS", "redis://", "problem"),
        (unknown_authority, "redis.security", "is not trusted", "queue.redis.caFile", "problem"),
        (missing_file, "redis.security", "/nowhere/ca.pem", "correct queue.redis.caFile", "problem"),
        (a_replica, "redis.role", "read-only replica of 127.0.0.1", "queue.redis.sentinels", "problem"),
        (lacking_rights, "redis.commands", "user poor may not use XADD", "airy queue acl", "problem"),
        (evicting, "redis.eviction", "maxmemory-policy is allkeys-lru", "noeviction", "problem"),
        (unbounded, "redis.memory", "maxmemory is not set", "config set maxmemory", "warning"),
        (nearly_full, "redis.memory", "of maxmemory is used", "config set maxmemory", "problem"),
    )
)


@REAL_TIME
@pytest.mark.parametrize(("planted", "plant"), REDIS_FAULTS, ids=lambda value: getattr(value, "fault", ""))
async def test_a_fault_of_redis_is_named(
    planted: Planted, plant: PlantAtRedis, patient: Patient, servers: Servers
) -> None:
    plant(patient, servers)

    assert_found(planted, await patient.examined())


@REAL_TIME
async def test_a_healthy_redis_has_nothing_to_correct(patient: Patient, servers: Servers) -> None:
    redis(patient, servers[0].url_of("airy:right"))

    results = await patient.examined()

    assert wrong(results) == {}
    assert {each.findings[0].state for each in results if each.check.group == "redis"} == {"ok"}
