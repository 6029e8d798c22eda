"""What a failure of Redis means: transient (`Unavailable`), a missing permission (`AccessDenied`), or a bug."""

import redis.exceptions as errors

from airy.errors import Unavailable

CHECK = "; is it up, and does it want TLS (rediss://), another queue.redis.caFile, or a certFile and keyFile?"

TRANSIENT = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.OutOfMemoryError,
    errors.ReadOnlyError,
    errors.ClusterError,
    errors.AskError,
    errors.TryAgainError,
    errors.SlotNotCoveredError,
    errors.RedisClusterException,
    OSError,
)
TRANSIENT_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "OOM", "READONLY")
FAILURES = (*TRANSIENT, errors.RedisError, TimeoutError)
DENIED = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)
DENIED_TEXTS = ("NOPERM", "ACL failure in script", "The user executing the script can't")  # raised within scripts
DISCONNECTED = (errors.ConnectionError, errors.TimeoutError, errors.ClusterError, errors.RedisClusterException, OSError)
SERVER_LOST = (*DISCONNECTED, errors.ReadOnlyError)


class AccessDenied(Unavailable):
    """Redis refuses the user or one of its commands. An operator may grant it later, so a running actor retries."""


def translate(error: Exception) -> Exception:
    """`AccessDenied` or `Unavailable`, after which the same call may succeed later; the error itself if it is a bug."""
    text = str(error) or type(error).__name__
    if isinstance(error, errors.NoPermissionError | errors.AuthorizationError) or any(
        denied in text for denied in DENIED_TEXTS
    ):
        return AccessDenied(f"redis denies our user a command; `airy queue acl` prints what it needs: {error}")
    if isinstance(error, errors.AuthenticationError):
        return AccessDenied(f"redis refuses the user or the password of queue.redis.url: {error}")
    if isinstance(error, errors.AskError):
        return Unavailable(f"the webhook queue's redis is moving a slot to another node: {text}")
    if isinstance(error, TRANSIENT) or str(error).startswith(TRANSIENT_CODES):
        check = CHECK if isinstance(error, DISCONNECTED) else ""
        return Unavailable(f"the webhook queue's redis is unavailable: {text}{check}")
    return error
