"""Headers of a delivery: configured ones, reserved ones, and redaction."""

import pytest

from airy.errors import Refused
from airy.model.entity import Webhook
from airy.queue.api import Job, QueueEntry
from airy.trace import new_trace, parse
from airy.webhooks import signing
from airy.webhooks.request import RESERVED_HEADERS, check_headers, open_target, request_headers, secret_place
from tests.kit.webhooks import SEALER


def webhook(**sealed: object) -> Webhook:
    return Webhook(id="a", url="https://a.example.com/", status="Subscribed", **sealed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED_HEADERS),
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
def test_reserved_and_invalid_header_names_are_refused(name: str) -> None:
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


def test_no_representation_of_a_target_shows_its_secrets() -> None:
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
    assert repr(target) == str(target) == "DeliveryTarget('https://a.example.com/')"


def test_redaction_skips_short_and_common_values() -> None:
    target = open_target(
        webhook(headers=SEALER.seal('{"X-A":"1","X-B":"sesame"}', secret_place("a", "headers"))), SEALER
    )
    assert target.redact("1 sesame application/json Airy/1.0") == "1 *** application/json Airy/1.0"


@pytest.mark.parametrize("field", ["headers", "signature_key", "secrets"])
def test_a_secret_unseals_only_for_its_webhook_and_field(field: str) -> None:
    other = SEALER.seal("{}", secret_place("b", field))
    with pytest.raises(Refused):
        open_target(webhook(**{field: (other,) if field == "secrets" else other}), SEALER)


def job(trace: str, attempt: int = 1) -> Job:
    entry = QueueEntry((1, 0), ("a",), "lane", "event", "message.created", b"{}", 1, "0.0.1", trace)
    return Job("event:a", "token", "a", entry, attempt, 0, 30_000)


def test_each_attempt_has_its_own_deterministic_span_in_the_trace() -> None:
    target, given = open_target(webhook(), SEALER), new_trace("a request")
    first, again, second = (request_headers(target, job(given.header, attempt), 0) for attempt in (1, 1, 2))
    spans = [parse(headers["traceparent"]) for headers in (first, again, second)]

    assert [span and span.trace_id for span in spans] == [given.trace_id] * 3
    assert spans[0] == spans[1]
    assert len({given.span_id, *(span and span.span_id for span in spans)}) == 3


@pytest.mark.parametrize("trace", ["", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
def test_an_invalid_trace_is_not_sent(trace: str) -> None:
    assert "traceparent" not in request_headers(open_target(webhook(), SEALER), job(trace), 0)
