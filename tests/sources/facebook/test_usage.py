"""Meta says how much of a limit is used: calls slow down before it is hit, and stop until access returns."""

import msgspec
import pytest

from airy.http_client import Response
from airy.sources.api import Sent
from tests.kit.providers import WIRES

SOURCE = WIRES["facebook"].source()
APP, PAGE, BUSINESS = "x-app-usage", "x-page-usage", "x-business-use-case-usage"


def taken(**headers: object) -> Sent:
    named = {
        name.replace("_", "-"): value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in headers.items()
    }
    body = msgspec.json.encode({"recipient_id": "6120000000000001", "message_id": "m_out-1"})
    outcome = SOURCE.interpret([Response(200, named, body)], 0)
    assert isinstance(outcome, Sent)
    assert outcome.provider_id == "m_out-1"
    return outcome


def business(percent: float, regain_minutes: float = 0) -> dict[str, object]:
    entry = {"type": "messenger", "call_count": percent, "total_time": 1, "total_cputime": 2}
    return {"204918377001": [{**entry, "estimated_time_to_regain_access": regain_minutes}]}


@pytest.mark.parametrize(
    ("percent", "pause_s"), [(0, 0.0), (74, 0.0), (75, 0.25), (80, 1.2), (90, 10.8), (100, 30.0), (250, 30.0)]
)
def test_calls_slow_down_from_75_percent_on(percent: float, pause_s: float) -> None:
    shares = {"call_count": 3, "total_time": percent, "total_cputime": 1}
    assert taken(x_app_usage=shares).app_pause_s == pytest.approx(pause_s)
    assert taken(x_page_usage=shares).pause_s == pytest.approx(pause_s)
    assert taken(x_business_use_case_usage=business(percent)).pause_s == pytest.approx(pause_s)


def test_without_access_calls_stop_until_it_returns() -> None:
    outcome = taken(x_business_use_case_usage=business(100, regain_minutes=7))
    assert (outcome.pause_s, outcome.app_pause_s) == (420.0, 0.0)
    assert taken(x_business_use_case_usage=business(100, regain_minutes=900)).pause_s == 3_600.0


@pytest.mark.parametrize("name", ["x_app_usage", "x_page_usage", "x_business_use_case_usage"])
@pytest.mark.parametrize(
    "value",
    ["", "soon", "[]", "7", '{"1":[7,null,{"call_count":"99"}]}', '{"call_count":1e999}', "[" * 5_000, "\udc80"],
)
def test_a_header_that_cannot_be_read_changes_nothing(name: str, value: str) -> None:
    assert taken(**{name: value}) == Sent("m_out-1")
