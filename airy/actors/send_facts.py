"""The facts of one send attempt, and the retry schedule of outbound messages. Pure.

Only a recorded failure is retried; a call whose answer was lost becomes `unknown` until an echo or a receipt settles it
(G7). Retries stop at the message's expiry: an answer an hour late is worse than an error the agent sees now.
"""

from math import inf
from random import Random

from airy.actors.runtime import Backoff
from airy.model import ids
from airy.model.conversation import Message
from airy.model.fact import Fact, IdentityChanged, MetadataChanged, SendFailed, SendStarted, SendSucceeded, SendUnknown
from airy.model.provider_reports import with_last_error
from airy.model.raw import NULL
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import RETRY_AFTER_MAX_S

BACKOFF = Backoff(initial_s=1.0, ceiling_s=300.0)
RETRY_MS_MAX = round(RETRY_AFTER_MAX_S * 1000)  # no delay is longer: neither of the back-off nor of a provider
NO_ANSWER = Failed(kind="provider", error="the provider could not be reached", again_s=0.0)


def started(message: Message, worker: str, now_ms: int) -> SendStarted:
    attempt = message.attempt + 1
    return SendStarted(
        id=ids.derive(message.id, f":attempt:{attempt}"),
        conversation_id=message.conversation_id,
        channel_id=message.channel_id,
        source=message.source,
        at_ms=now_ms,
        message_id=message.id,
        attempt=attempt,
        worker=worker,
    )


def ended(message: Message, outcome: Outcome, now_ms: int, random: Random, backoff: Backoff = BACKOFF) -> Fact:
    """The fact for `outcome` of the current attempt of `message`, as folded after `started`."""
    common = {
        "conversation_id": message.conversation_id,
        "channel_id": message.channel_id,
        "source": message.source,
        "at_ms": now_ms,
        "message_id": message.id,
        "attempt": message.attempt,
    }
    name = f":attempt:{message.attempt}"
    match outcome:
        case Sent(provider_id=provider_id):
            return SendSucceeded(id=ids.derive(message.id, f"{name}:sent"), provider_id=provider_id, **common)  # type: ignore[arg-type]
        case Lost(reason=reason):
            return SendUnknown(id=ids.derive(message.id, f"{name}:unknown"), reason=reason, **common)  # type: ignore[arg-type]
        case Failed():
            return SendFailed(
                id=ids.derive(message.id, f"{name}:failed:{message.sequence}:{now_ms}"),
                error_kind=outcome.kind,
                error=outcome.error,
                error_code=outcome.code,
                detail=outcome.detail or NULL,
                retry_at_ms=_retry_at_ms(message, outcome, now_ms, random, backoff),
                **common,  # type: ignore[arg-type]
            )


def annotated(message: Message, sent: Sent, now_ms: int) -> MetadataChanged:
    """What the answer to the current attempt adds to the message."""
    return MetadataChanged(
        id=ids.derive(message.id, f":attempt:{message.attempt}:metadata"),
        conversation_id=message.conversation_id,
        channel_id=message.channel_id,
        source=message.source,
        at_ms=now_ms,
        subject="message",
        subject_id=message.id,
        set=dict(sent.metadata),
    )


def renamed(message: Message, name: str, now_ms: int) -> IdentityChanged:
    """The provider knows the contact of the message by another name."""
    return IdentityChanged(
        id=ids.derive(message.channel_id, f"renamed:{message.conversation_id}:{name}"),
        conversation_id=message.conversation_id,
        channel_id=message.channel_id,
        source=message.source,
        at_ms=now_ms,
        aliases=(name,),
        participant_id=name,
    )


def _retry_at_ms(message: Message, failed: Failed, now_ms: int, random: Random, backoff: Backoff) -> int | None:
    if failed.again_s is None or message.attempt_count >= (failed.attempts_max or inf):
        return None
    delay_s = max(failed.again_s, backoff.delay_s(message.attempt, random))
    at_ms = now_ms + round(delay_s * 1000)
    return at_ms if message.expires_at_ms is None or at_ms < message.expires_at_ms else None


def retry_in_ms(retry_at_ms: int, attempted_at_ms: int, now_ms: int) -> int:
    """The time until a retry, at most as long as it was from the failed attempt, and at most `RETRY_MS_MAX`.

    An attempt in the future means that the wall clock was set back, or another process's is ahead: retried now.
    """
    if attempted_at_ms > now_ms:
        return 0
    return max(0, min(retry_at_ms - now_ms, retry_at_ms - attempted_at_ms, RETRY_MS_MAX))


def expired(message: Message, now_ms: int) -> Failed | None:
    if message.expires_at_ms is None or now_ms < message.expires_at_ms:
        return None
    late_s = (now_ms - message.expires_at_ms) // 1000
    error = f"not sent in time: it expired {late_s} s ago; send it again if it is still needed"
    return Failed(kind="expired", error=with_last_error(error, message))
