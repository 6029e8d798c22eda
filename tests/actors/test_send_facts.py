"""Facts of send attempts, and the retry schedule."""

from random import Random

from airy.actors.send_facts import BACKOFF, RETRY_MS_MAX, ended, expired, retry_in_ms, started
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import SendFailed, SendSucceeded, SendUnknown
from airy.sources.api import Failed, Lost, Sent
from tests.kit.builders import raw

NOW_MS = 1_767_225_600_000


def message(*, attempt: int = 1, expires_at_ms: int | None = None) -> Message:
    return Message(
        id="m",
        conversation_id="c",
        channel_id="ch",
        source="facebook",
        sequence=7,
        content=raw({"text": "hi"}),
        from_contact=False,
        sender_id="agent",
        sent_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        delivery=DeliveryState.SENDING,
        attempt=attempt,
        expires_at_ms=expires_at_ms,
    )


def test_two_workers_claim_the_same_attempt_with_the_same_id() -> None:
    one, two = started(message(), "one", NOW_MS), started(message(), "two", NOW_MS + 5)

    assert one.id == two.id
    assert one.attempt == 2


def test_each_outcome_has_its_fact() -> None:
    random = Random(0)

    assert isinstance(ended(message(), Sent("mid"), NOW_MS, random), SendSucceeded)
    assert isinstance(ended(message(), Lost("cut off"), NOW_MS, random), SendUnknown)
    assert isinstance(ended(message(), Failed(kind="invalid", error="no"), NOW_MS, random), SendFailed)


def test_only_a_transient_failure_has_a_retry_time() -> None:
    final = ended(message(), Failed(kind="invalid", error="no"), NOW_MS, Random(0))
    passing = ended(message(), Failed(kind="rate", error="slow down", again_s=30.0), NOW_MS, Random(0))

    assert isinstance(final, SendFailed)
    assert final.retry_at_ms is None
    assert isinstance(passing, SendFailed)
    assert passing.retry_at_ms == NOW_MS + 30_000


def test_a_failure_that_counts_attempts_is_final_after_the_last_one() -> None:
    unfetched = Failed(kind="invalid", error="the image could not be fetched", again_s=1.0, attempts_max=2)
    retries = []
    for attempt_count in (1, 2):
        attempted = message(attempt=attempt_count)
        attempted.attempt_count = attempt_count
        fact = ended(attempted, unfetched, NOW_MS, Random(0))
        assert isinstance(fact, SendFailed)
        retries.append(fact.retry_at_ms is not None)

    assert retries == [True, False]


def test_retries_back_off_and_stay_below_the_ceiling() -> None:
    delays = [BACKOFF.delay_s(attempt, Random(attempt)) for attempt in range(1, 40)]

    assert delays[0] < 1.5
    assert max(delays) <= BACKOFF.ceiling_s * (1 + BACKOFF.jitter)
    assert delays[5] > delays[0]


def test_a_retry_is_never_further_ahead_than_it_was_from_its_attempt() -> None:
    attempted_ms, retry_ms = 1_000_000, 1_060_000

    assert retry_in_ms(retry_ms, attempted_ms, 1_020_000) == 40_000
    assert retry_in_ms(retry_ms, attempted_ms, 2_000_000) == 0
    assert retry_in_ms(retry_ms, attempted_ms, 990_000) == 0  # the clock was set back beyond the attempt
    assert retry_in_ms(9_000_000, 1_000_000, 1_000_000) == RETRY_MS_MAX  # it was set during the attempt


def test_no_retry_is_scheduled_after_the_expiry() -> None:
    near = message(expires_at_ms=NOW_MS + 1_000)
    fact = ended(near, Failed(kind="rate", error="slow down", again_s=30.0), NOW_MS, Random(0))

    assert isinstance(fact, SendFailed)
    assert fact.retry_at_ms is None


def test_a_message_expires_at_its_time_and_says_how_late_it_is() -> None:
    assert expired(message(expires_at_ms=NOW_MS + 1), NOW_MS) is None
    late = expired(message(expires_at_ms=NOW_MS - 5_000), NOW_MS)

    assert late is not None
    assert late.kind == "expired"
    assert "5 s ago" in late.error


def test_an_expired_message_says_why_its_last_attempt_failed() -> None:
    waited = message(expires_at_ms=NOW_MS)
    waited.metadata = {"error": raw("too many calls")}
    failed = expired(waited, NOW_MS + 1)

    assert failed is not None
    assert failed.error.endswith("the last attempt failed: too many calls")
