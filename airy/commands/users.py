"""Users: created by their first login or write, and their sessions."""

from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import Writer, Written
from airy.model.entity import User, UserSession
from airy.model.session import SECRET_BYTES, session_sha256, session_token, with_session, without_sessions
from airy.secret import Secret
from airy.store.api import UserReader

SEEN_USERS_MAX = 10_000
SEEN_EVERY_MS = 60_000  # `last_seen_at` moves in steps of this, so that not every request writes


class UserProfile(Struct, frozen=True, kw_only=True):
    """A person as the identity provider or a signed token describes them. `id` is `<provider>:<id>`."""

    id: str
    name: str | None = None
    avatar_url: str | None = None
    email: str | None = None


class UserWithToken(Struct, frozen=True):
    user: User
    token: Secret


class UserCommands:
    def __init__(self, writer: Writer, store: UserReader) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)
        self._seen_at_ms: OrderedDict[str, int] = OrderedDict()  # when this process noted it last, by user id

    async def log_in(self, profile: UserProfile, *, login_id: str, valid_s: int) -> Written[UserWithToken]:
        """Begin a session, and take over the profile. `login_id` names the login: a second one with it is a replay,
        and raises `Conflict`.
        """
        user_id, now_ms = profile.id.lower(), self._writer.now_ms()
        token = session_token(user_id, self._writer.random_bytes(SECRET_BYTES))
        session = UserSession(
            id=login_id,
            sha256=session_sha256(token.encode()),
            created_at_ms=now_ms,
            expires_at_ms=now_ms + valid_s * 1000,
        )

        async def logged_in(found: User | None) -> User:
            user = found or User(id=user_id, first_seen_at_ms=now_ms)
            if any(each.id == login_id for each in user.sessions):
                raise Conflict("this login was completed before: log in again")
            user = replace(
                user,
                name=profile.name or user.name,
                avatar_url=profile.avatar_url or user.avatar_url,
                email=profile.email,
                last_seen_at_ms=now_ms,
            )
            return with_session(user, session, now_ms)

        done = await self._entities.put(topics.USERS, user_id, self._store.user, logged_in)
        return Written(UserWithToken(done.value, Secret(token)), done.position)

    async def log_out(self, user_id: str, session_id: str | None = None) -> Written[User]:
        """Revoke a session, or all sessions of the user."""

        async def logged_out(user: User) -> User:
            return without_sessions(user, self._writer.now_ms(), only=session_id)

        return await self._entities.update(topics.USERS, user_id.lower(), self._known, logged_out)

    async def seen(self, profile: UserProfile) -> None:
        """Note that a user writes. Keeps the known name and picture.

        Of concurrent requests of one user, one writes: otherwise they would lose to each other.
        """
        user_id, now_ms = profile.id.lower(), self._writer.now_ms()
        if now_ms - self._seen_at_ms.get(user_id, 0) < SEEN_EVERY_MS:
            return
        self._seen_at_ms[user_id] = now_ms
        self._seen_at_ms.move_to_end(user_id)
        if len(self._seen_at_ms) > SEEN_USERS_MAX:
            self._seen_at_ms.popitem(last=False)
        try:
            await self._note(profile, user_id, now_ms)
        except BaseException:
            self._seen_at_ms.pop(user_id, None)
            raise

    async def _note(self, profile: UserProfile, user_id: str, now_ms: int) -> None:
        known = await self._store.user(user_id)
        if known is not None and now_ms - known.last_seen_at_ms < SEEN_EVERY_MS:
            return

        async def noted(found: User | None) -> User:
            user = found or User(id=user_id, first_seen_at_ms=now_ms)
            name, avatar_url = user.name or profile.name, user.avatar_url or profile.avatar_url
            return replace(user, name=name, avatar_url=avatar_url, last_seen_at_ms=max(now_ms, user.last_seen_at_ms))

        await self._entities.put(topics.USERS, user_id, self._store.user, noted)

    async def _known(self, user_id: str) -> User:
        user = await self._store.user(user_id)
        if user is None:
            raise NotFound(f"there is no user {user_id}", field="id")
        return user
