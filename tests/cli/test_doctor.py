"""`airy doctor` prints a list for people and rows for programs, and its exit code tells problems from warnings."""

import pytest

from airy.app.doctor import checks_instance, gather
from airy.app.doctor.facts import MachineFacts
from tests.kit.command_line import CommandLine, matches_golden

VERSION = "1.2.3"
MACHINE = MachineFacts((3, 11), (), 512, 4_096, "xterm", "utf-8", terminal=False)


@pytest.fixture
def doctor(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """An instance, asked for with AIRY_URL, with a channel that fails."""
    monkeypatch.setattr(gather, "gather_machine", lambda env: MACHINE)
    monkeypatch.setattr(checks_instance, "__version__", VERSION)
    channel = {"id": "c-1", "source": "telegram", "metadata": {"name": "Shop", "health": {"state": "failing"}}}
    airy.instance.documents = {
        "/livez": {"alive": True},
        "/client.config": {"cluster_version": VERSION},
        "/channels.list": {"data": [channel]},
        "/webhooks.list": {"data": []},
        "/webhooks.stats": {"data": []},
        "/components.list": {"data": [], "last_change": None},
        "/components.plan": {"differences": []},
        "/processes.list": {
            "data": [{"instance": "inbox-1", "version": VERSION}],
            "components": {"api-admin": {"processes": 1, "ready": 1}},
        },
        "/dead-letters.list": {"data": [], "pagination_data": {"total": 2}},
    }
    airy.instance.counts = {
        "airy_bugs_total": 0.0,
        "airy_dead_deliveries": 0.0,
        "airy_event_loop_delay_seconds": 0.02,
        "airy_fold_age_seconds": 0.0,
        "airy_fold_lag": 0.0,
        "airy_partitions_held": 0.0,
        "airy_webhook_queue_up": 1.0,
        "airy_webhooks_oldest_age_seconds": 0.0,
        "airy_webhooks_waiting": 0.0,
    }
    return airy


def test_a_run_is_a_list_of_groups_with_the_next_steps_and_a_count(doctor: CommandLine) -> None:
    printed = doctor("doctor")

    assert (printed.code, printed.err) == (78, "")
    assert matches_golden("doctor", printed.out)


def test_rows_follow_the_published_schema_and_warnings_alone_are_no_failure(doctor: CommandLine) -> None:
    doctor.instance.documents["/channels.list"] = {"data": []}

    rows = doctor.json("doctor", "doctor")

    assert {row["check"]: row["state"] for row in rows if row["state"] == "warning"} == {
        "machine.files": "warning",
        "records.dead-letters": "warning",
    }
    assert {row["step"] for row in rows if row["state"] in ("ok", "skipped")} == {None}


def test_an_invalid_configuration_is_a_problem_and_suppresses_what_depends_on_it(
    doctor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRY_URL")
    monkeypatch.setenv("AIRY_PORT", "loud")

    printed = doctor("doctor", "-o", "ndjson")

    assert printed.code == 78
    assert printed.out.count('"state": "problem"') == 1
    assert "environment variable AIRY_PORT" in printed.out
