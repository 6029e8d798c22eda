"""Fixtures for tests on real servers; they are marked `cluster`.

Without the software a test is skipped with the packages to install; in CI (`CI=true`) it fails.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.kit.servers.kafka import KafkaCluster, prepared
from tests.kit.servers.missing import Missing, in_ci
from tests.kit.servers.redis import RedisServer
from tests.kit.servers.shared import SharedKafka, shared_kafka


@contextmanager
def needed() -> Iterator[None]:
    """Skips a test whose software is missing; fails it in CI."""
    try:
        yield
    except Missing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedKafka]:
    """One broker for the whole run, shared by the workers of pytest-xdist. Use a separate namespace."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with needed():
        prepared()
    with shared_kafka(run / "shared-kafka") as kafka:
        yield kafka


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One per test process; a test that kills or flushes it must leave it running and empty."""
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))
        yield server


class ClusterFactory(Protocol):
    def __call__(self, **options: Any) -> KafkaCluster: ...


@pytest.fixture
def kafka_cluster_factory(tmp_path: Path) -> Iterator[ClusterFactory]:
    """Brokers for one test, which may kill them. Takes `KafkaCluster`'s options."""
    with ExitStack() as exits:
        made = 0

        def make(**options: Any) -> KafkaCluster:
            nonlocal made
            made += 1
            with needed():
                return exits.enter_context(KafkaCluster(tmp_path / f"kafka-{made}", **options))

        yield make
