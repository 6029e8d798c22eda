"""Errors of the API: one line on stderr, nothing on stdout, and an exit code that says what to do."""

import pytest

from tests.kit.command_line import CommandLine, matches_golden


def test_an_instance_that_cannot_be_reached(airy: CommandLine) -> None:
    airy.instance.down = True

    printed = airy("token", "list")

    assert (printed.code, printed.out) == (75, "")
    assert matches_golden("error-unreachable", printed.err)


def test_a_token_that_the_instance_does_not_know(airy: CommandLine) -> None:
    airy.instance.token = "right"

    printed = airy("token", "list", "--token", "wrong")

    assert (printed.code, printed.out) == (77, "")
    assert matches_golden("error-bad-token", printed.err)


def test_an_id_that_does_not_exist(airy: CommandLine) -> None:
    printed = airy("conversations", "show", "c-1")

    assert (printed.code, printed.out) == (66, "")
    assert matches_golden("error-unknown-id", printed.err)


def test_a_filter_with_a_mistake(airy: CommandLine) -> None:
    airy.instance.refuse("/conversations.list", 400, "expected a value after [ at character 14", field="filters")

    printed = airy("conversations", "list", "--filter", "unread_count:[")

    assert (printed.code, printed.out) == (64, "")
    assert matches_golden("error-bad-filter", printed.err)


@pytest.mark.parametrize(
    ("status", "code"), [(400, 64), (401, 77), (403, 77), (404, 66), (409, 65), (413, 64), (429, 75), (503, 75)]
)
def test_the_status_of_an_answer_decides_the_exit_code(airy: CommandLine, status: int, code: int) -> None:
    airy.instance.refuse("/tokens.list", status, "not this time", field="name")

    printed = airy("token", "list", "-o", "json")

    assert (printed.code, printed.out) == (code, "")
    assert printed.err.startswith(f"airy: /tokens.list answered {status}: not this time; name: is wrong")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "token list --url nope",
        "status --url http://one --url http://two:99999",
        "token list --token to\u200bken",
        "tail --resume-file nowhere/position",
        "listen --secret whsec_damaged",
        "logs --since nope",
        "completion powershell",
        "sim viber --target nope",
    ],
)
def test_a_wrong_value_of_an_option_is_a_wrong_use(airy: CommandLine, arguments: str) -> None:
    printed = airy(*arguments.split(" "))

    assert (printed.code, printed.out) == (64, "")
    assert "Error: " in printed.err
