"""Every error that Meta documents for messages, and what it leads to."""

from collections.abc import Iterator

import msgspec
import pytest

from airy.http_client import Response
from airy.sources.api import Failed
from airy.sources.meta import graph
from tests.kit.providers import WIRES

SOURCES = {name: WIRES[name].source() for name in ("facebook", "instagram")}

NO, ONCE_MORE, THREE_TIMES, LATER, IN_HOURS = "no", "one more try", "three tries", "after the limit", "after hours"
Pair = tuple[int, int | None]

ERRORS: dict[str, tuple[str, str, bool, tuple[Pair, ...]]] = {  # kind, another attempt, stops the lane, codes
    "temporary": ("provider", THREE_TIMES, False, ((1, None), (2, None), (1200, None))),
    "a permission is missing": ("auth", NO, False, ((1, 99), (10, None), (200, None), (299, None), (3, None))),
    "a rate limit": (
        "rate",
        LATER,
        False,
        (*((code, None) for code in sorted(graph.RATE_CODES)), (613, 2534040), (80006, 2446079)),
    ),
    "marketing messages too often, opted in already, topic stopped": (
        "invalid",
        NO,
        False,
        ((4, 2018354), (9, 2018352), (613, 1893016), (10, 1893015)),
    ),
    "the tag is called bothersome": ("invalid", NO, False, ((613, 2018338),)),
    "outside of the window": ("window", NO, False, ((10, 2018278), (10, 2534022), (10, 2018065))),
    "restricted by policy": ("auth", IN_HOURS, True, ((10, 1893063), (10, 1404170), (100, 2534029), (2022, None))),
    "another app or flow owns the thread": (
        "invalid",
        NO,
        False,
        ((2018300, None), (10, 2018300), (100, 2534037), (2018321, None), (100, 2018321)),
    ),
    "no such person or object": ("not_found", NO, False, ((100, 2018001), (100, 2534014), (100, 33))),
    "the person is unavailable or blocks us": (
        "blocked",
        NO,
        False,
        ((551, None), (551, 1545041), (200, 1545041), (10, 2018108)),
    ),
    "our media was not fetched": ("invalid", ONCE_MORE, False, ((100, 2018008), (100, 2018294))),
    "media type, size, foreign upload": ("invalid", NO, False, ((100, 2018047), (100, 2018074), (100, 2018109))),
    "a message beside a sender action": ("invalid", NO, False, ((100, 2018014),)),
    "no several images on this account": ("invalid", NO, False, ((2534068, None), (100, 2534068))),
    "the token, or a link of the account, is broken": (
        "auth",
        NO,
        True,
        ((190, None), (190, 460), (102, None), (10, 2018028), (200, 2018028), (200, 2534041), (10, 2534077)),
    ),
    "the message was deleted": ("not_found", NO, False, ((9000001, None),)),
    "a bad parameter": ("invalid", NO, False, ((100, None), (100, 4711))),
}


def cases() -> Iterator[object]:
    for name, (kind, again, stops, pairs) in ERRORS.items():
        for code, subcode in pairs:
            yield pytest.param(code, subcode, kind, again, stops, id=f"{name}: {code}/{subcode}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("code", "subcode", "kind", "again", "stops"), list(cases()))
def test_every_error_leads_to_its_outcome(
    source: str, code: int, subcode: int | None, kind: str, again: str, stops: bool
) -> None:
    error = {"message": "no", "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    body = msgspec.json.encode({"error": error if subcode is None else error | {"error_subcode": subcode}})

    outcome = SOURCES[source].interpret([Response(400, {}, body)], 0)

    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.stop_lane) == (kind, stops)
    assert (outcome.again_s, outcome.attempts_max) == {
        NO: (None, None),
        ONCE_MORE: (1.0, 2),
        THREE_TIMES: (10.0, 3),
        LATER: (60.0, None),
        IN_HOURS: (3_600.0, None),
    }[again]
    assert outcome.app_wide is (code == 4 and kind == "rate")


@pytest.mark.parametrize(("status", "transient"), [(500, False), (503, False), (400, True)])
def test_an_outage_is_waited_for_until_the_message_expires(status: int, transient: bool) -> None:
    error = {"message": "no", "type": "OAuthException", "code": 2, "is_transient": transient}

    outcome = SOURCES["facebook"].interpret([Response(status, {}, msgspec.json.encode({"error": error}))], 0)

    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.again_s, outcome.attempts_max) == ("provider", 1.0, None)


def test_a_retired_tag_that_meta_refuses_is_a_mistake_of_ours() -> None:
    said = "(#100) Message tag ACCOUNT_UPDATE is deprecated."
    body = msgspec.json.encode({"error": {"message": said, "type": "OAuthException", "code": 100}})

    outcome = SOURCES["facebook"].interpret([Response(400, {}, body)], 0)

    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.error, outcome.again_s) == ("invalid", said, None)
