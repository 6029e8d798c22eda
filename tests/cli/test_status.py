"""`airy status`"""

from typing import Any

import pytest

from tests.kit.command_line import CommandLine, matches_golden

FIGURES = {
    'airy_build_info{components="http",python="3.11.7",version="1.2.3"}': 1.0,
    'airy_component_ready{component="api-admin"}': 1.0,
    "airy_process_resident_memory_bytes": 88_080_384.0,
    "airy_fold_lag": 5.0,
    "airy_store_caught_up": 1.0,
    "airy_webhook_queue_up": 1.0,
}
PROCESS: dict[str, Any] = {
    "instance": "host:8080",
    "url": None,
    "version": "1.2.3",
    "started_at": "2026-01-01T00:00:00.000Z",
    "age_s": 1.0,
    "stale": False,
    "ready": True,
    "waiting_for": {},
    "components": {"api-admin": {"ready": True, "restarts": 1, "lag": None, "rebalances": None}},
    "memory_bytes": 88_080_384,
    "event_loop_delay_s": 0.001,
    "fold": {"lag": 5, "age_s": 0.25, "caught_up": True},
}


@pytest.fixture(autouse=True)
def running(airy: CommandLine) -> None:
    airy.instance.counts = dict(FIGURES)
    airy.instance.fleet = {"data": [PROCESS], "components": {"api-admin": {"processes": 1, "ready": 1}}}


def test_the_status_of_an_installation(airy: CommandLine) -> None:
    assert matches_golden("status", airy("status").out)
    assert airy.json("status", "status")["processes"] == [PROCESS]


def test_the_status_of_several_processes(airy: CommandLine) -> None:
    asked = airy.json("status", "status", "--url", "http://one", "--url", "http://two")

    assert [each["url"] for each in asked["processes"]] == ["http://one", "http://two"]


def test_an_installation_that_is_not_ready_has_an_exit_code(airy: CommandLine) -> None:
    airy.instance.waiting_for = {"store": "it is behind"}
    assert airy("status").code == 75
    airy.instance.down = True
    assert airy("status").code == 75
