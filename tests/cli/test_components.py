"""`airy components get`, `plan` and `apply`: the configuration of an instance from the command line."""

from pathlib import Path

import pytest

from tests.kit.command_line import CommandLine, matches_golden
from tests.kit.fake_configuration import FakeConfiguration


@pytest.fixture
def configuration(airy: CommandLine) -> FakeConfiguration:
    return airy.instance.operations.configuration


def test_settings_are_printed_without_secrets(airy: CommandLine) -> None:
    assert matches_golden("components-get", airy("components", "get").out)
    of_one = airy.json("settings", "components", "get", "webhook-consumer")
    assert [each["key"] for each in of_one] == ["enabled", "inFlightMax", "perWebhookMax", "timeoutS"]
    assert "there are api-communication" in airy("components", "get", "webhook").err


def test_a_plan_is_printed_with_what_restarts_and_exits_with_2(
    airy: CommandLine, configuration: FakeConfiguration
) -> None:
    configuration.others = [{"instance": "two:8080", "url": None, "components": []}]
    planned = airy("components", "plan", "http.publicUrl=https://b.example", "--enable", "sources-telegram")
    assert matches_golden("components-plan", planned.out)
    assert planned.code == 2
    assert "restart by hand, it does not reload: two:8080" in planned.err
    assert airy("components", "plan").code == 0
    (difference,) = airy.json("config-differences", "components", "apply", "log.level=debug", "--yes")
    assert difference["after"] == "debug"


def test_an_application_sends_what_was_planned_and_waits_for_the_reload(airy: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("entered-token\n")
    arguments = ("sources-viber.authToken=@token.txt", "components.sources.viber.welcomeMessage=", "--enable")
    applied = airy("components", "apply", *arguments, "sources-viber", "--yes")
    assert (applied.code, applied.err.splitlines()[-1]) == (0, "applied")
    data = {"authToken": "entered-token", "welcomeMessage": None}
    change = {"name": "sources-viber", "data": data, "enabled": True}
    assert airy.instance.operations.written == [("/components.update", {"components": [change], "fingerprint": "1"})]
    assert "entered-token" not in applied.out + applied.err


def test_a_change_that_was_taken_back_is_reported_with_78(airy: CommandLine, configuration: FakeConfiguration) -> None:
    configuration.reverts = "cannot listen on port 81"
    applied = airy("components", "apply", "log.level=debug", "--yes")
    assert applied.code == 78
    assert "the former one runs: cannot listen on port 81" in applied.err


def test_problems_and_refusals_are_78_and_nothing_is_sent(airy: CommandLine, configuration: FakeConfiguration) -> None:
    configuration.problems["log.level"] = "expected one of debug, info"
    configuration.refused = "/etc/airy is read-only"
    refused = airy("components", "apply", "log.level=x", "--yes")
    assert refused.code == 78
    assert "log.level: expected one of debug, info" in refused.err
    assert "cannot be applied here: /etc/airy is read-only" in refused.err
    assert airy.instance.operations.written == []


@pytest.mark.parametrize(
    "arguments", [("port=1",), ("http.port",), ("--enable", "sources-viber", "--disable", "sources-viber")]
)
def test_what_is_no_change_is_wrong_use(airy: CommandLine, arguments: tuple[str, ...]) -> None:
    assert airy("components", "plan", *arguments).code == 64
