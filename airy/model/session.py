"""Sessions: the token of a login, and the sessions of a user after a login or logout.

A token is 32 random bytes and the user's id, both in URL-safe base64, with a dot between: the id finds the user, and
the SHA-256 of the whole text proves the secret.
"""

from hashlib import sha256
from hmac import compare_digest

from msgspec.structs import replace

from airy import base64url
from airy.model.entity import User, UserSession

SECRET_BYTES = 32
SESSIONS_MAX = 10  # of a user; a further login ends the oldest


def session_token(user_id: str, secret: bytes) -> str:
    return f"{base64url.encode(secret)}.{base64url.encode(user_id.encode())}"


def user_id_of(token: bytes) -> str | None:
    """The id of the user a token names; None if the text is no session token."""
    secret, dot, encoded = token.partition(b".")
    if not dot or len(secret) != 43 or b"." in encoded:
        return None
    try:
        return base64url.decode(encoded).decode() or None
    except ValueError:
        return None


def session_sha256(token: bytes) -> str:
    return sha256(token).hexdigest()


def session_of(user: User, token: bytes, now_ms: int) -> UserSession | None:
    """The session whose token this is; None if there is none, or if it expired or was revoked."""
    given = session_sha256(token)
    found = [each for each in user.sessions if compare_digest(each.sha256, given)]
    return next((each for each in found if each.revoked_at_ms is None and now_ms < each.expires_at_ms), None)


def has_session(user: User, token: bytes) -> bool:
    """Whether this is the token of a session of the user, in force or not."""
    given = session_sha256(token)
    return any(compare_digest(each.sha256, given) for each in user.sessions)


def with_session(user: User, session: UserSession, now_ms: int) -> User:
    """Without the sessions that expired, and with the newest `SESSIONS_MAX`."""
    kept = [each for each in user.sessions if now_ms < each.expires_at_ms]
    return replace(user, sessions=(*kept, session)[-SESSIONS_MAX:])


def without_sessions(user: User, now_ms: int, *, only: str | None = None) -> User:
    """Revoke one session, or all. They are kept until they expire, so that a login cannot be repeated."""
    sessions = (
        replace(each, revoked_at_ms=each.revoked_at_ms or now_ms) if only in (None, each.id) else each
        for each in user.sessions
    )
    return replace(user, sessions=tuple(sessions))
