"""`airy dlq` through the API; tests/app/test_dead_letter_admin.py has the log itself."""

from contextlib import nullcontext

import pytest

from airy.app import dead_letter_admin
from tests.kit.command_line import CommandLine, matches_golden


@pytest.fixture(autouse=True)
def stored(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_admin, "AiohttpClient", lambda _policy: nullcontext(airy.instance))
    airy.instance.operations.letter("source.facebook.events/3/42", "no \x1b[31mentry", '{"entry": 1}')


def test_dead_letters_are_listed_and_shown(airy: CommandLine) -> None:
    assert matches_golden("dlq-list", airy("dlq", "list").out)
    assert len(airy.json("dead-letters", "dlq", "list")) == 1
    assert matches_golden("dlq-show", airy("dlq", "show", "source.facebook.events/3/42").out)
    assert airy.json("dead-letter", "dlq", "show", "source.facebook.events/3/42")["body"] == '{"entry": 1}'


def test_a_discard_has_a_reason_which_is_listed(airy: CommandLine) -> None:
    airy("dlq", "discard", "source.facebook.events/3/42", "--reason", "sent by a test")
    assert airy.instance.operations.written[-1][1]["reason"] == "sent by a test"
    assert "sent by a test, by op" in airy("dlq", "list", "--state", "all").out


def test_dead_letters_are_replayed(airy: CommandLine) -> None:
    for result in ("replayed", "already_replayed"):
        resolved = airy.json("resolved-dead-letters", "dlq", "replay", "source.facebook.events/3/42")
        assert [each["result"] for each in resolved] == [result]
    assert airy("dlq", "discard", "--all", "--yes").err == "no dead letters\n"
