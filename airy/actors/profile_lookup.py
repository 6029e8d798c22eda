"""Looks up the name of a contact at the provider and records it as a fact.

A look-up that fails is repeated with back-off per conversation, not earlier than the provider asks; a rate limit or an
outage of the provider (`Unavailable` with a delay) holds back the other look-ups of the channel as well, and a limit of
our app (`AppRateLimited`) every call of the source.
"""

from collections import Counter

from airy.actors.bug_report import BugCounts
from airy.actors.fact_appender import FactAppender
from airy.actors.message_sender import Credentials, OutboundKind, delay_retry
from airy.actors.runtime import Backoff, Context
from airy.bug_fields import bug_fields
from airy.clock import monotonic_ms
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.model.conversation import Conversation
from airy.model.fact import ProfileResolved
from airy.sources.abilities import ProfileReader
from airy.sources.api import AppRateLimited, Profile, Target
from airy.store.api import ConversationReader, Work

BACKOFF = Backoff(initial_s=1.0, ceiling_s=3_600.0)
RETRIES_MAX = 10_000  # conversations that wait for a retry; beyond it the ones that wait longest are tried again


class ProfileLookups:
    def __init__(
        self,
        store: ConversationReader,
        appender: FactAppender,
        http: HttpClient,
        credentials: Credentials,
        *,
        bugs: BugCounts | None = None,
    ) -> None:
        self._store = store
        self._appender = appender
        self._http = http
        self._credentials = credentials
        self._bugs = Counter() if bugs is None else bugs
        self._retries: dict[str, tuple[int, int]] = {}  # conversation → failures, and when it is due again (monotonic)
        self._channels: dict[str, int] = {}  # channel → until when its look-ups are held back (monotonic)

    def due_in_ms(self, work: Work, now_ms: int) -> int:
        retry_at_ms = self._retries.get(work.conversation_id, (0, 0))[1]
        return max(0, retry_at_ms - now_ms, self._channels.get(work.channel_id, 0) - now_ms)

    async def look_up(self, ctx: Context, work: Work, outbound: OutboundKind) -> None:
        view = await self._store.conversation(work.conversation_id)
        if view is None or view.conversation.participant_id is None or not view.channel.connected:
            await delay_retry(ctx)
            return
        conversation = view.conversation
        reader: ProfileReader = outbound.source  # type: ignore[assignment]  # the kind declares it
        try:
            target = Target(
                channel=view.channel, conversation=conversation, credentials=self._credentials(view.channel)
            )
            profile = await reader.profile(self._http, target)
        except (Unavailable, Refused) as error:
            delay_s = self._delay(ctx, work, error.retry_after_s if isinstance(error, Unavailable) else None)
            if isinstance(error, AppRateLimited):
                outbound.pauses.pause(outbound.source.spec.name, error.retry_after_s or delay_s)
            ctx.log.info(
                "profile.unavailable", conversation_id=conversation.id, error=str(error), in_s=round(delay_s, 1)
            )
            return
        except Exception as error:  # noqa: BLE001 - a bug in one source, on one conversation
            self.end_after_bug(ctx, work, error)
            return
        try:
            await self._appender.append(ctx, _fact(conversation, profile, ctx.clock.now_ms()))
        except Unavailable as error:  # looked up again later
            ctx.log.info("profile.unavailable", conversation_id=conversation.id, error=str(error))
            await delay_retry(ctx)
            return
        self._retries.pop(work.conversation_id, None)

    def end_after_bug(self, ctx: Context, work: Work, error: Exception) -> None:
        """The look-up failed, and is repeated with back-off."""
        self._bugs["profile"] += 1
        self._delay(ctx, work, None)
        ctx.log.error("profile.failed_unexpectedly", conversation_id=work.conversation_id, **bug_fields(error))

    def _delay(self, ctx: Context, work: Work, retry_after_s: float | None) -> float:
        failures = self._retries.pop(work.conversation_id, (0, 0))[0] + 1
        delay_s = BACKOFF.delay_s(failures, ctx.random)
        now_ms = monotonic_ms()
        if retry_after_s is not None:
            delay_s = max(delay_s, retry_after_s)
            self._channels = {name: until for name, until in self._channels.items() if until > now_ms}
            self._channels[work.channel_id] = now_ms + round(retry_after_s * 1000)
        while len(self._retries) >= RETRIES_MAX:
            self._retries.pop(next(iter(self._retries)))
        self._retries[work.conversation_id] = failures, now_ms + round(delay_s * 1000)
        return delay_s


def _fact(conversation: Conversation, profile: Profile, now_ms: int) -> ProfileResolved:
    return ProfileResolved(
        id=ids.derive(conversation.id, f":profile:{conversation.sequence}"),
        conversation_id=conversation.id,
        channel_id=conversation.channel_id,
        source=conversation.source,
        at_ms=now_ms,
        found=profile.found,
        display_name=profile.display_name,
        avatar_url=profile.avatar_url,
    )
