"""The broker of a test run: started by the first, ended by the last."""

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


def test_it_lasts_as_long_as_somebody_needs_it_and_no_longer(tmp_path: Path) -> None:
    with needed():
        prepared()
    with shared_kafka(tmp_path) as first:
        with shared_kafka(tmp_path) as second:
            assert second == first
        assert answers(first)

    with shared_kafka(tmp_path) as next_one:  # the keeper has not noticed yet, or is about to end, or has ended
        assert answers(next_one)
    while answers(next_one):  # the test's time-out is the bound
        time.sleep(0.02)

    with shared_kafka(tmp_path) as later:
        assert later != next_one
        assert answers(later)
