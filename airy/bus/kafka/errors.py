"""Translates errors of the client into ours. The type decides: retry later, never, or a bug.

An unknown error code of a broker means retry later: nothing counts as written or committed because of it.
"""

from collections.abc import Callable

from aiokafka import errors

from airy.bus.api import RecordTooLarge
from airy.errors import Refused, Unavailable


class InvalidRecord(errors.BrokerResponseError):  # type: ignore[misc]
    """Missing in the client, which would report "unknown" for a record that can never be written."""

    errno = 87
    message = "INVALID_RECORD"
    description = "the broker's own check refused the record"


errors.kafka_errors.setdefault(InvalidRecord.errno, InvalidRecord)

CHECK = (
    "check the address, that the cluster is up, and, if it is, whether it wants TLS, another certificate authority, "
    "a client certificate, or another user or password"
)
APPLY_TOPICS = "`airy topics apply` makes it"
_ACLS = "`airy topics acls` prints what each component needs"
FENCED = (
    errors.CommitFailedError,
    errors.IllegalStateError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
)
"""Errors of a commit: the member is no longer part of the group's current generation."""

ADVICE: dict[type[Exception], str] = {
    errors.MessageSizeTooLargeError: "the broker accepts no record that large; `airy topics check` compares the limits",
    errors.InvalidTimestampError: "the broker refuses the timestamp of the record",
    InvalidRecord: "the broker refuses the record",
    errors.TopicAuthorizationFailedError: f"this user may not use the topic; {_ACLS}",
    errors.GroupAuthorizationFailedError: f"this user may not use the consumer group; {_ACLS}",
    errors.ClusterAuthorizationFailedError: f"this user may not write there; {_ACLS}",
    errors.UnknownTopicOrPartitionError: f"there is no such topic; {APPLY_TOPICS}",
    errors.KafkaConnectionError: f"no connection; {CHECK}",
    errors.ProducerFenced: "the cluster has fenced this producer; the next client gets a new epoch",
}
_TRANSLATIONS: tuple[tuple[type[Exception], Callable[[str], Exception]], ...] = (
    (errors.MessageSizeTooLargeError, RecordTooLarge),
    (errors.InvalidTimestampError, Refused),
    (InvalidRecord, Refused),
    *((kind, Unavailable) for kind in ADVICE),
    (errors.KafkaError, Unavailable),
)


def translate(error: BaseException, doing: str) -> Exception:
    """The error to raise from `error`. An error that is not the client's is a bug and is returned unchanged."""
    for kind, make in _TRANSLATIONS:
        if isinstance(error, kind):
            return make(f"{doing}: {ADVICE.get(kind) or _text(error)}")
    return error if isinstance(error, Exception) else Unavailable(f"{doing} was cancelled by the client")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
