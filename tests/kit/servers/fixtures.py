"""Fixtures for tests on real servers; they are marked `cluster`.

Where the software is missing a test is skipped and says what to install; in CI (`CI=true`) it fails.
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
    """Software that is not here ends the test, in the way that fits the place."""
    try:
        yield
    except Missing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedKafka]:
    """One broker for the whole run, also across pytest-xdist's workers. Work in a namespace of your own."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with needed():
        prepared()
    with shared_kafka(run / "shared-kafka") as kafka:
        yield kafka


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of this process; whoever kills or flushes it leaves it running and empty."""
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))
        yield server


class ClusterFactory(Protocol):
    def __call__(self, **options: Any) -> KafkaCluster: ...


@pytest.fixture
def kafka_cluster_factory(tmp_path: Path) -> Iterator[ClusterFactory]:
    """Brokers of a test's own, to be killed. Takes `KafkaCluster`'s options; ended with the test."""
    with ExitStack() as exits:
        made = 0

        def make(**options: Any) -> KafkaCluster:
            nonlocal made
            made += 1
            with needed():
                return exits.enter_context(KafkaCluster(tmp_path / f"kafka-{made}", **options))

        yield make
