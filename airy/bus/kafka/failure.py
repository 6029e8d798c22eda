"""What an error of the client means to us. The type decides: later, never, or a bug.

A broker's answer we do not know is one to try again: nothing of ours counts as done because of it.
"""

from collections.abc import Callable

from aiokafka import errors

from airy.bus.api import RecordTooLarge
from airy.errors import Refused, Unavailable


class InvalidRecord(errors.BrokerResponseError):  # type: ignore[misc]
    """The client knows no such error, and would say "unknown" for what can never be written."""

    errno = 87
    message = "INVALID_RECORD"
    description = "the broker's own check refused the record"


errors.kafka_errors.setdefault(InvalidRecord.errno, InvalidRecord)

CHECK = (
    "check the address, that the cluster is up, and, if it is, whether it wants TLS, another certificate authority, "
    "a client certificate, or another user or password"
)
MAKE = "`airy topics apply` makes it"
_ACLS = "`airy topics acls` prints what each component needs"
GONE = (
    errors.CommitFailedError,
    errors.IllegalStateError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
)
"""Of a commit: the group went on without us."""

ADVICE: dict[type[Exception], str] = {
    errors.MessageSizeTooLargeError: "the broker takes no record that large; `airy topics check` compares the limits",
    errors.InvalidTimestampError: "the broker refuses the time of the record",
    InvalidRecord: "the broker refuses the record",
    errors.TopicAuthorizationFailedError: f"this user may not use the topic; {_ACLS}",
    errors.GroupAuthorizationFailedError: f"this user may not use the consumer group; {_ACLS}",
    errors.ClusterAuthorizationFailedError: f"this user may not write there; {_ACLS}",
    errors.UnknownTopicOrPartitionError: f"there is no such topic; {MAKE}",
    errors.KafkaConnectionError: f"no connection; {CHECK}",
    errors.ProducerFenced: "the cluster takes this client for an old one; the next has a new number",
}
_MEANINGS: tuple[tuple[type[Exception], Callable[[str], Exception]], ...] = (
    (errors.MessageSizeTooLargeError, RecordTooLarge),
    (errors.InvalidTimestampError, Refused),
    (InvalidRecord, Refused),
    *((kind, Unavailable) for kind in ADVICE),
    (errors.KafkaError, Unavailable),
)


def meaning(error: BaseException, doing: str) -> Exception:
    """What to raise instead of `error`, from `error`. Anything that is not the client's is a bug, and stays itself."""
    for kind, make in _MEANINGS:
        if isinstance(error, kind):
            return make(f"{doing}: {ADVICE.get(kind) or _words(error)}")
    return error if isinstance(error, Exception) else Unavailable(f"{doing} was given up by the client")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
