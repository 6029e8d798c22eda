"""`airy topics show`, `airy topics browse` and `airy logs`"""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from airy import topics
from airy.cli import following
from airy.http_client import Response
from tests.kit.command_line import CommandLine, matches_golden
from tests.kit.fake_instance import NOW_MS, FakeInstance

AUDIT = topics.AUDIT.name
RAW = topics.source_events("facebook").name


class InterruptedInstance(FakeInstance):
    """Before each answer takes the next step; after the last one the user presses Ctrl-C."""

    steps: list[Any]

    async def __call__(self, method: str, url: str, **given: Any) -> Response:
        if not self.steps:
            raise KeyboardInterrupt
        step = self.steps.pop(0)
        if step is not None:
            step()
        return await super().__call__(method, url, **given)


def fill(instance: FakeInstance, count: int = 250) -> None:
    for number in range(count):
        instance.topics.record(AUDIT, 0, "ada", b'{"n":%d}' % number, NOW_MS - (count - number) * 1_000)
    for age_s in (90, 70):
        instance.topics.record(RAW, 3, "page-1", None, NOW_MS - age_s * 1_000)
    instance.topics.committed("sources.facebook.router", RAW, 1)


def numbers(rows: list[Mapping[str, Any]]) -> list[int]:
    return [row["value"]["n"] for row in rows]


def test_topics_are_shown_with_records_and_lag(airy: CommandLine) -> None:
    fill(airy.instance)
    assert matches_golden("topics-show", airy("topics", "show").out)
    shown = airy.json("topics", "topics", "show")
    assert [row["name"] for row in shown] == [RAW, AUDIT]
    assert len(airy.json("topics", "topics", "show", "--all")) == len(topics.ALL)
    assert [row["name"] for row in airy.json("topics", "topics", "show", "application.communication.tags")] == [
        topics.TAGS.name
    ]
    assert matches_golden("topics-show-partitions", airy("topics", "show", RAW, "--partitions").out)
    partitions = airy.json("topic-partitions", "topics", "show", RAW, "--partitions")
    assert [(row["lag"], row["group"]) for row in partitions][2:4] == [(None, None), (1, "sources.facebook.router")]
    refused = airy("topics", "show", "nope")
    assert (refused.code, "there is no topic nope" in refused.err) == (66, True)


def test_the_newest_records_are_browsed_and_those_from_a_place_on(airy: CommandLine) -> None:
    fill(airy.instance)
    assert matches_golden("topics-browse", airy("topics", "browse", AUDIT, "--limit", "3").out)
    assert numbers(airy.json("log-records", "topics", "browse", AUDIT)) == list(range(150, 250))
    assert numbers(airy.json("log-records", "topics", "browse", AUDIT, "--limit", "0")) == list(range(250))
    assert numbers(airy.json("log-records", "topics", "browse", AUDIT, "--limit", "230")) == list(range(20, 250))
    offset = ("--partition", "0", "--from", "20", "--limit", "210")
    assert numbers(airy.json("log-records", "topics", "browse", AUDIT, *offset)) == list(range(20, 230))
    since = ("--from", "2026-01-01T09:09:58Z")
    assert numbers(airy.json("log-records", "topics", "browse", AUDIT, *since)) == [248, 249]
    nothing = airy("topics", "browse", AUDIT, "--key", "grace")
    assert (nothing.code, nothing.err) == (0, "no records\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nope",), 66, "there is no topic 'nope'"),
        ((AUDIT, "--partition", "7"), 64, "has partitions 0 to 0, not 7"),
        ((AUDIT, "--from", "9999"), 64, "has offsets from 0 to 250, not 9999"),
        ((AUDIT, "--from", "soon"), 64, "neither an offset nor a time"),
    ],
)
def test_what_cannot_be_browsed_is_an_error_with_a_code(
    airy: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    fill(airy.instance)
    printed = airy("topics", "browse", *arguments)
    assert (printed.code, said in printed.err) == (code, True), printed.err


def write_lines(instance: FakeInstance) -> None:
    instance.logs.write("one:8080", 1, "process.started", url="http://one:8080")
    instance.logs.write("two:8080", 2, "delivery.failed", "warning", path="airy/consumer/dispatcher", status=500)
    instance.logs.write("one:8080", 3, "request.failed", "error", request_id="r-1")


def test_log_lines_are_printed_by_level_component_words_and_time(airy: CommandLine) -> None:
    write_lines(airy.instance)
    assert matches_golden("logs", airy("logs").out)

    def events(*arguments: str) -> list[str]:
        return [line["event"] for line in airy.json("log-lines", "logs", *arguments)]

    assert events() == ["process.started", "delivery.failed", "request.failed"]
    assert events("--level", "warning") == ["delivery.failed", "request.failed"]
    assert events("--component", "dispatcher") == ["delivery.failed"]
    assert events("--words", "r-1") == ["request.failed"]
    assert events("--since", "2026-01-01T09:00:02Z", "--limit", "1") == ["delivery.failed"]
    assert events("--limit", "2") == ["delivery.failed", "request.failed"]
    assert events("--limit", "0") == events()
    assert airy("logs", "--since", "20").code == 64


def test_following_goes_on_over_an_outage_and_a_restart_and_ends_with_ctrl_c(
    airy: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.0)
    monkeypatch.setattr(following, "RETRY_S", 0.0)
    instance = airy.instance = InterruptedInstance()
    write_lines(instance)

    def away() -> None:
        instance.down = True

    def back() -> None:
        instance.down = False
        instance.logs.restart("one:8080")
        instance.logs.write("one:8080", 9, "after.restart")

    instance.steps = [None, None, away, None, back, None]
    printed = airy("logs", "-f", "-o", "ndjson")
    assert printed.code == 130
    events = [msgspec.json.decode(line)["event"] for line in printed.out.splitlines()]
    assert events == ["process.started", "delivery.failed", "request.failed", "after.restart"]
    assert printed.err.count("asking again") == 1
    assert "the instance answers again" in printed.err


def test_records_are_followed_from_the_end(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.0)
    instance = airy.instance = InterruptedInstance()
    fill(instance, 5)

    def more() -> None:
        instance.topics.record(AUDIT, 0, "ada", b'{"n":"new"}', NOW_MS)

    instance.steps = [None, None, more, None]
    printed = airy("topics", "browse", AUDIT, "-f", "--limit", "2", "--json")
    assert printed.code == 130
    assert numbers(printed.json) == [3, 4, "new"]


def test_an_instance_that_does_not_answer_at_first_is_an_error(airy: CommandLine) -> None:
    airy.instance.down = True
    printed = airy("logs", "-f")
    assert (printed.code, "no instance answers" in printed.err) == (75, True)
