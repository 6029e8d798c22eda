"""Headers of a delivery: what users may say, what only we say, and what is never shown."""

import pytest

from airy.actors.webhooks import signing
from airy.actors.webhooks.queue import Entry, Job
from airy.actors.webhooks.request import OURS, check_headers, open_target, request_headers, secret_place
from airy.errors import Refused
from airy.model.entity import Webhook
from airy.trace import begun, parse
from tests.kit.webhooks import SEALER


def webhook(**sealed: object) -> Webhook:
    return Webhook(id="a", url="https://a.example.com/", status="Subscribed", **sealed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        *sorted(OURS),
        "Host",
        "CONTENT-LENGTH",
        "webhook-id",
        "Webhook-Signature",
        "webhook-anything",
        "X-Airy-Content-Signature",
        "",
        "a b",
        "a:b",
        "a\r\nb",
        "é",
    ],
)
def test_names_that_are_ours_or_no_names_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        check_headers({name: "1"})
    assert (refused.value.field or "").startswith("headers")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "ü€", "a" * 5_000])
def test_values_that_break_a_request_are_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(Refused) as refused:
        check_headers({"X-A": value})
    assert value not in str(refused.value)


def test_ordinary_headers_are_fine_up_to_a_number() -> None:
    check_headers({"X-Api-Key": "k 1\t2", "Authorization": "Bearer é", "Content-Type": "a/b"})
    with pytest.raises(Refused):
        check_headers({f"X-{number}": "1" for number in range(51)})


def test_nothing_shows_what_a_target_holds() -> None:
    secret = signing.secret_text(b"s" * 32)
    target = open_target(
        webhook(
            headers=SEALER.seal('{"X-Api-Key":"sesame-123"}', secret_place("a", "headers")),
            signature_key=SEALER.seal("k-123456", secret_place("a", "signature_key")),
            secrets=(SEALER.seal(secret, secret_place("a", "secrets")),),
        ),
        SEALER,
    )
    assert (target.keys, target.signature_key, target.headers["X-Api-Key"]) == ((b"s" * 32,), "k-123456", "sesame-123")
    assert repr(target) == str(target) == "Target('https://a.example.com/')"


def test_hiding_leaves_short_and_common_values_alone() -> None:
    target = open_target(
        webhook(headers=SEALER.seal('{"X-A":"1","X-B":"sesame"}', secret_place("a", "headers"))), SEALER
    )
    assert target.hide("1 sesame application/json Airy/1.0") == "1 *** application/json Airy/1.0"


@pytest.mark.parametrize("field", ["headers", "signature_key", "secrets"])
def test_a_secret_only_opens_where_it_belongs(field: str) -> None:
    other = SEALER.seal("{}", secret_place("b", field))
    with pytest.raises(Refused):
        open_target(webhook(**{field: (other,) if field == "secrets" else other}), SEALER)


def job(trace: str, attempt: int = 1) -> Job:
    entry = Entry((1, 0), ("a",), "lane", "event", "message.created", b"{}", 1, "0.0.1", trace)
    return Job("event:a", "token", "a", entry, attempt, 0, 30_000)


def test_each_attempt_is_a_step_of_its_own_in_one_trace_the_same_whenever_it_is_made() -> None:
    target, given = open_target(webhook(), SEALER), begun("a request")
    first, again, second = (request_headers(target, job(given.header, attempt), 0) for attempt in (1, 1, 2))
    spans = [parse(headers["traceparent"]) for headers in (first, again, second)]

    assert [span and span.trace_id for span in spans] == [given.trace_id] * 3
    assert spans[0] == spans[1]
    assert len({given.span_id, *(span and span.span_id for span in spans)}) == 3


@pytest.mark.parametrize("trace", ["", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
def test_what_is_no_trace_is_not_passed_on(trace: str) -> None:
    assert "traceparent" not in request_headers(open_target(webhook(), SEALER), job(trace), 0)
