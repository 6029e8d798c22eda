"""The shared broker of a test run: started by its first user, stopped by its last."""

import time
from pathlib import Path

import pytest

from tests.kit.servers.fixtures import needed
from tests.kit.servers.kafka import prepared
from tests.kit.servers.kafka_wire import metadata
from tests.kit.servers.shared import SharedKafka, shared_kafka

pytestmark = pytest.mark.cluster


def answers(kafka: SharedKafka) -> bool:
    host, _, port = kafka.bootstrap[0].partition(":")
    try:
        return metadata(host, int(port)).nodes == {1}
    except OSError:
        return False


def test_a_shared_server_runs_while_it_has_users(tmp_path: Path) -> None:
    with needed():
        prepared()
    with shared_kafka(tmp_path) as first:
        with shared_kafka(tmp_path) as second:
            assert second == first
        assert answers(first)

    with shared_kafka(tmp_path) as next_one:  # the keeper runs, is about to end, or has ended
        assert answers(next_one)
    while answers(next_one):  # bounded by the test's time-out
        time.sleep(0.02)

    with shared_kafka(tmp_path) as later:
        assert later != next_one
        assert answers(later)
