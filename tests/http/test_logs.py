"""`/logs.list`: the log lines of all processes in order of time, from a position, a time or the end."""

from typing import Any

import msgspec
import pytest

from airy.actors.process_logs import ProcessLogs
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.log_schemas import LogPageSchema
from airy.log_ring import LogRing
from tests.kit.api import ApiHarness, api_harness
from tests.kit.response_schemas import validated


def write(ring: LogRing, second: int, event: str, level: str = "info", **fields: object) -> None:
    time = f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000000Z"
    ring.append(msgspec.json.encode({"timestamp": time, "level": level, "event": event, **fields}))


class TwoProcesses(ProcessLogs):
    """A fleet of two, whose rings the test writes to."""

    def __init__(self, lines_max: int = 100) -> None:
        self.one = LogRing(epoch="a", lines_max=lines_max)
        self.two = LogRing(epoch="b", lines_max=lines_max)

    def rings(self) -> dict[str, LogRing]:
        return {"one:1": self.one, "two:2": self.two}


async def lines(api: ApiHarness, **body: object) -> tuple[list[str], Any]:
    answer = await api.call("/logs.list", body)
    validated(LogPageSchema, answer)
    return [line["event"] for line in answer["data"]], answer["pagination_data"]


async def test_the_newest_lines_of_all_processes_come_in_order_of_time_with_their_fields() -> None:
    logs = TwoProcesses()
    write(logs.one, 1, "a", path="airy/sources/connector", trace_id="t", attempt=2)
    write(logs.two, 2, "b")
    write(logs.one, 3, "c")
    async with api_harness(logs=logs) as api:
        answer = await api.call("/logs.list")
        assert [line["event"] for line in answer["data"]] == ["a", "b", "c"]
        assert answer["data"][0] == {
            "instance": "one:1",
            "time": "2026-01-01T00:00:01.000000Z",
            "level": "info",
            "event": "a",
            "actor": "airy/sources/connector",
            "trace_id": "t",
            "fields": {"attempt": 2},
        }
        assert answer["pagination_data"]["positions"] == {"one:1": "a.2", "two:2": "b.1"}
        assert (await lines(api, limit=2))[0] == ["b", "c"]


async def test_a_reader_continues_without_a_gap_and_without_a_repeat() -> None:
    logs = TwoProcesses()
    for second in range(10):
        write(logs.one if second % 3 else logs.two, second, str(second))
    async with api_harness(logs=logs) as api:
        seen, page = await lines(api, since=0, limit=4)
        while page["more"]:
            more, page = await lines(api, positions=page["positions"], limit=4)
            seen += more
        assert seen == [str(second) for second in range(10)]
        write(logs.two, 11, "later")
        assert (await lines(api, positions=page["positions"]))[0] == ["later"]


async def test_a_reader_survives_a_restart_and_is_told_what_it_missed() -> None:
    logs = TwoProcesses(lines_max=3)
    for second in range(8):
        write(logs.one, second, str(second))
    async with api_harness(logs=logs) as api:
        seen, page = await lines(api, positions={"one:1": "a.2", "two:2": "b.0"})
        assert (seen, page["lost"]) == (["5", "6", "7"], {"one:1": 3})
        logs.one = LogRing(epoch="of the next run")
        write(logs.one, 9, "started")
        assert (await lines(api, positions=page["positions"]))[0] == ["started"]


async def test_lines_are_chosen_by_level_component_words_and_time() -> None:
    logs = TwoProcesses()
    write(logs.one, 1, "send.ended", path="airy/sources/connector", channel="Shop")
    write(logs.one, 2, "send.delayed", "warning", path="airy/sources/connector")
    write(logs.two, 3, "request.failed", "error", logger="uvicorn.error")
    logs.two.append(b"not JSON")
    async with api_harness(logs=logs) as api:
        assert (await lines(api, level="warning"))[0] == ["send.delayed", "request.failed"]
        assert (await lines(api, component="connector"))[0] == ["send.ended", "send.delayed"]
        assert (await lines(api, component="uvicorn"))[0] == ["request.failed"]
        assert (await lines(api, words="SHOP send"))[0] == ["send.ended"]
        assert (await lines(api, since="2026-01-01T00:00:02Z"))[0] == ["send.delayed", "request.failed"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"positions": {"one:1": "nonsense"}}, "positions"),
        ({"level": "loud"}, "level"),
        ({"since": "yesterday"}, "since"),
    ],
)
async def test_what_is_no_question_is_refused(body: dict[str, object], field: str) -> None:
    async with api_harness() as api:
        answer = await api.call("/logs.list", body, status=400)
    assert [each["field"] for each in answer["fields"]] == [field]


class Reader:
    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("reader", frozenset(Permission) - {Permission.OPERATE})


async def test_reading_the_log_needs_the_permission_operate() -> None:
    async with api_harness(authenticators=[Reader()]) as api:
        assert (await api.post("/logs.list", {})).status == 403
