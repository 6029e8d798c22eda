"""One send: claim the attempt, call the provider, record the outcome. Also settles attempts without an outcome.

G7 rests on the log: before a call the worker appends a `SendStarted` fact (the claim), and only the worker whose claim
the fold accepted calls the provider. So concurrent connectors, zombies and restarts cannot call twice.

An unexpected exception ends one attempt, not the connector: before the call it is a failure, from the call on the
outcome is unknown.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from airy import topics
from airy.actors import send_facts
from airy.actors.bug_report import BUG_REASON, BUGS, BugCounts
from airy.actors.fact_appender import FOLD_S, FactAppender
from airy.actors.fold_progress import WorkProgress
from airy.actors.runtime import Context
from airy.actors.send_limits import SendLimiter
from airy.bug_fields import bug_fields
from airy.bus.topic import Topic
from airy.clock import monotonic_ms
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import channel_health
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel, CustomSource
from airy.model.render import timestamp
from airy.secret import Secret
from airy.sources import calling
from airy.sources.abilities import TokenExchange
from airy.sources.api import Call, Failed, Lost, Outcome, Sent, Source, Target
from airy.sources.catalogue import kind_of
from airy.sources.provider_pauses import ProviderPauses
from airy.sources.spec import Kind
from airy.store.api import ConnectorStore, Work
from airy.store.holds import hold_of

Credentials = Callable[[Channel | CustomSource], Mapping[str, Secret]]
"""The secrets of a channel or a custom source in clear, by name. Raises `Refused` if one cannot be opened."""

CLAIM_VALID_MS = 10_000  # an older claim is not acted on: the current owner of the partition may have settled it
ORPHAN_MS = 30_000  # an attempt of another worker, open for this long, is settled: longer than any claim and call
CREDENTIALS_RETRY_MS = 60_000  # until a channel whose credentials were refused is tried again
BUG_RETRY_MS = 60_000  # until a message is tried again for which a bug left neither an outcome nor a failure
PAUSING_KINDS = frozenset({"rate", "provider"})
RETRY_S = 1.0
TOKEN_RETRY_S = 5.0  # until a provider that issued no token is asked again
NO_ATTEMPT = (0, 0)


class OutboundKind(Struct, frozen=True):
    """A kind of channel with what sending to it needs."""

    kind: Kind
    source: Source
    limiter: SendLimiter
    pauses: ProviderPauses = field(default_factory=ProviderPauses)  # of the process

    def app_resumes_in_ms(self) -> int:
        """0, or until the provider takes calls of the source's app again."""
        return ceil(self.pauses.resumes_in_s(self.source.spec.name) * 1000)


class MessageSender:
    def __init__(
        self,
        store: ConnectorStore,
        progress: WorkProgress,
        appender: FactAppender,
        http: HttpClient,
        credentials: Credentials,
        *,
        guarded_http: HttpClient | None = None,
        worker: str,
        bugs: BugCounts | None = None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._appender = appender
        self._http = http
        self._guarded_http = guarded_http or http
        self._credentials = credentials
        self._worker = worker
        self._foreign_attempts: dict[
            str, tuple[int, int]
        ] = {}  # message → attempt, and when it counts as orphaned (monotonic)
        self._bugs = Counter() if bugs is None else bugs
        self._postponed: dict[str, int] = {}  # message → when it is tried again after a bug (monotonic)
        self.on_refused: Callable[[str], None] = _ignore  # called with a channel whose credentials were refused
        self.sent = 0
        self.calls = 0

    def postponed_ms(self, message_id: str, now_ms: int) -> int:
        """Until a message is tried again for which a bug could not be recorded; 0 for others."""
        return max(0, self._postponed.get(message_id, 0) - now_ms)

    def settles_in_ms(self, message_id: str, now_ms: int) -> int:
        """Until the attempt of another worker counts as orphaned; 0: it does, or it was not seen yet."""
        return max(0, self._foreign_attempts.get(message_id, NO_ATTEMPT)[1] - now_ms)

    async def settle(self, ctx: Context, work: Work, outbound: OutboundKind) -> None:
        """Record an attempt whose worker is gone as unknown: no process knows its outcome. Without a provider nothing
        was called, so the attempt is completed.
        """
        message = await self._store.message(work.message_id or "")
        if message is None or message.delivery is not DeliveryState.SENDING:
            await delay_retry(ctx)
            return
        if message.worker != self._worker and not self._is_orphaned(message, monotonic_ms()):
            return
        if not await self._is_current(topics.EVENTS, partition=work.partition):
            await delay_retry(ctx)  # the outcome may already be in the log
            return
        after = await self._store.message(message.id)
        if after is not None and (after.delivery, after.attempt) == (DeliveryState.SENDING, message.attempt):
            lost = Lost("the worker that called the provider stopped before it recorded the answer")
            await self._record(ctx, after, lost if outbound.source.spec.provider else Sent(after.id))

    def _is_orphaned(self, message: Message, now_ms: int) -> bool:
        """Whether another worker's attempt has been open for `ORPHAN_MS` since it was first seen."""
        self._foreign_attempts = {
            name: seen for name, seen in self._foreign_attempts.items() if seen[1] + ORPHAN_MS > now_ms
        }
        attempt, until_ms = self._foreign_attempts.get(message.id, NO_ATTEMPT)
        if attempt != message.attempt:
            self._foreign_attempts[message.id] = message.attempt, now_ms + ORPHAN_MS
            return False
        return now_ms >= until_ms

    async def send(self, ctx: Context, work: Work, outbound: OutboundKind) -> None:
        message = await self._store.message(work.message_id or "")
        if (
            message is None
            or message.delivery is not DeliveryState.PENDING
            or _retry_in_ms(message, ctx.clock.now_ms())
        ):
            await delay_retry(ctx)
            return
        if hold_of(self._progress.held, topics.CHANNELS, message.channel_id):
            await delay_retry(ctx)  # the channel may be another one by now
            return
        channel = await self._store.channel(message.channel_id)
        if channel is None or not channel.connected:
            # Topics have no common order: the message may be folded before the record that connected its channel.
            if not await self._is_current(topics.CHANNELS):
                await delay_retry(ctx)
                return
            channel = await self._store.channel(message.channel_id)
        await self.attempt(ctx, message, channel, outbound)

    async def _is_current(self, topic: Topic[Any], *, partition: int | None = None) -> bool:
        try:
            return await self._progress.wait_until_current([topic], FOLD_S, partition=partition)
        except Unavailable:
            return False

    async def attempt(self, ctx: Context, message: Message, channel: Channel | None, outbound: OutboundKind) -> None:
        began_ms = monotonic_ms()
        calls = send_facts.expired(message, ctx.clock.now_ms()) or await self._encode(
            ctx, message, channel, outbound.source
        )
        if isinstance(calls, Failed):
            self._pause_if_asked(ctx, message, calls, outbound)
            await self._record(ctx, message, calls)
            return
        try:
            started = await self._claim(ctx, message)
        except Unavailable as error:  # nothing is in the log for sure; if it is, the attempt is settled
            ctx.log.info("send.delayed", message_id=message.id, error=str(error))
            await delay_retry(ctx)
            return
        if started is None:  # another worker claimed it; the store will show its outcome
            await delay_retry(ctx)
            return
        if monotonic_ms() - began_ms > CLAIM_VALID_MS:  # the process was suspended, or its store is slow
            stale = Failed(kind="provider", error="the claim is too old to call the provider", again_s=0.0)
            await self._record(ctx, started, stale)
            return
        outcome: Outcome = Sent(started.id)  # where there is no provider, the message's own id is that at the provider
        if calls:
            until_ms = began_ms + CLAIM_VALID_MS
            outcome = await self._call(ctx, started, calls, outbound.source, deliver_until_ms=until_ms)
        self._pause_if_asked(ctx, message, outcome, outbound)
        await self._record(ctx, started, outcome)

    async def _encode(
        self, ctx: Context, message: Message, channel: Channel | None, source: Source
    ) -> Sequence[Call] | Failed:
        target = await self._target(ctx, message, channel, source)
        if isinstance(target, Failed):
            return target
        try:
            calls = source.encode(message, target, ctx.clock.now_ms())
        except Exception as error:  # noqa: BLE001 - a bug in one source, on one message
            ctx.log.error("send.encode_failed", **self._count_bug(error, message.id, message.source))  # noqa: TRY400
            return Failed(kind="invalid", error=f"the message could not be encoded: {BUG_REASON}")
        if calls or not source.spec.provider:
            return calls
        return Failed(kind="invalid", error="the source makes no call of this message")

    async def _target(self, ctx: Context, message: Message, channel: Channel | None, source: Source) -> Target | Failed:
        if channel is None:
            return Failed(kind="invalid", error="its channel is unknown")
        if not channel.connected:
            return Failed(kind="invalid", error="its channel is disconnected: connect it, then resend")
        view = await self._store.conversation(message.conversation_id)
        owner = await self._store.custom_source(channel.source) if kind_of(channel.source).open else None
        credentials = self._valid_credentials(channel, owner, ctx.clock.now_ms())
        if isinstance(credentials, Failed):
            return credentials
        conversation = view.conversation if view else None
        target = Target(channel=channel, conversation=conversation, owner=owner, credentials=credentials)
        return await self._authorize(ctx, target, source) if source.spec.token_exchange else target

    async def _authorize(self, ctx: Context, target: Target, source: Source) -> Target | Failed:
        """`target` with a token for its calls. Nothing was delivered if that fails."""
        exchange: TokenExchange = source  # type: ignore[assignment]  # its specification declares it
        try:
            return await exchange.authorize(self._http, target, ctx.clock.now_ms())
        except Unavailable as error:
            again_s = max(error.retry_after_s or 0.0, TOKEN_RETRY_S)
            return Failed(kind="provider", error=str(error), again_s=again_s)
        except Refused as error:
            return Failed(kind="auth", error=str(error), stop_lane=True)

    def _valid_credentials(
        self, channel: Channel, owner: CustomSource | None, now_ms: int
    ) -> Mapping[str, Secret] | Failed:
        try:
            credentials = {**self._credentials(channel), **(self._credentials(owner) if owner else {})}
        except Refused as error:
            return Failed(kind="auth", error=f"the channel's credentials cannot be read: {error}")
        expire_at_ms = channel_health.expire_at_ms(channel)
        if expire_at_ms is not None and expire_at_ms <= now_ms:
            expired = f"the channel's credentials expired at {timestamp(expire_at_ms)}: connect it again"
            return Failed(kind="auth", error=expired, stop_lane=True)
        return credentials

    async def _call(
        self, ctx: Context, message: Message, calls: Sequence[Call], source: Source, *, deliver_until_ms: int
    ) -> Outcome:
        self.calls += 1
        now_ms = ctx.clock.now_ms()
        http = self._guarded_http if source.spec.guarded else self._http
        try:
            return await calling.send(
                http, source, calls, now_ms, may_deliver=lambda: monotonic_ms() <= deliver_until_ms
            )
        except Exception as error:  # noqa: BLE001 - a bug in one source; the provider may have taken the message
            ctx.log.error("send.failed_unexpectedly", **self._count_bug(error, message.id, message.source))  # noqa: TRY400
            return Lost(f"the provider may have taken it, but its answer could not be read: {BUG_REASON}")

    async def _claim(self, ctx: Context, message: Message) -> Message | None:
        """Append `SendStarted`; the message as folded if this worker's claim was accepted, else None."""
        fact = send_facts.started(message, self._worker, ctx.clock.now_ms())
        await self._appender.append(ctx, fact)
        folded = await self._store.message(message.id)
        if folded is None or folded.delivery is not DeliveryState.SENDING:
            return None
        return folded if folded.worker == self._worker and folded.attempt == fact.attempt else None

    def _pause_if_asked(self, ctx: Context, message: Message, outcome: Outcome, outbound: OutboundKind) -> None:
        """Where a limit is near, the provider refuses the credentials, or it asks for no calls for longer than a retry
        waits anyway.
        """
        if isinstance(outcome, Sent):
            self._slow_down(ctx, message, outcome, outbound)
            return
        if not isinstance(outcome, Failed):
            return
        if outcome.kind == "auth":
            self.on_refused(message.channel_id)
        if outcome.stop_lane:
            again_ms = round((outcome.again_s or 0.0) * 1000)
            outbound.limiter.pause(message.channel_id, monotonic_ms() + max(CREDENTIALS_RETRY_MS, again_ms))
            ctx.log.error("channel.credentials_refused", channel_id=message.channel_id, error=outcome.error)
        elif outcome.contact_only:
            return  # its later messages wait behind this one anyway
        elif outcome.kind in PAUSING_KINDS and (outcome.again_s or 0.0) > send_facts.BACKOFF.initial_s:
            for_s = outcome.again_s or 0.0
            outbound.limiter.pause(message.channel_id, monotonic_ms() + round(for_s * 1000))
            if outcome.app_wide:
                outbound.pauses.pause(outbound.source.spec.name, for_s)
            ctx.log.warning("channel.paused", channel_id=message.channel_id, error=outcome.error, for_s=for_s)

    def _slow_down(self, ctx: Context, message: Message, sent: Sent, outbound: OutboundKind) -> None:
        if sent.pause_s:
            outbound.limiter.pause(message.channel_id, monotonic_ms() + round(sent.pause_s * 1000))
        if sent.app_pause_s:
            outbound.pauses.pause(outbound.source.spec.name, sent.app_pause_s)
        if (for_s := max(sent.pause_s, sent.app_pause_s)) > send_facts.BACKOFF.initial_s:
            ctx.log.info("channel.slowed_down", channel_id=message.channel_id, for_s=round(for_s, 1))

    async def _record(self, ctx: Context, message: Message, outcome: Outcome) -> None:
        try:
            await self._append_outcome(ctx, message, outcome)
        except BUGS as bug:  # something of the provider's answer cannot be in the log
            ctx.log.error("send.outcome_not_recordable", **self._count_bug(bug, message.id, message.source))  # noqa: TRY400
            outcome = _without_answer(outcome, BUG_REASON)
            await self._append_outcome(ctx, message, outcome)
        if isinstance(outcome, Sent):
            self.sent += 1
            ctx.log.debug("send.ended", message_id=message.id, attempt=message.attempt, outcome="Sent")
        else:
            error = outcome.error if isinstance(outcome, Failed) else outcome.reason
            name = type(outcome).__name__
            ctx.log.info("send.ended", message_id=message.id, attempt=message.attempt, outcome=name, error=error)

    async def _append_outcome(self, ctx: Context, message: Message, outcome: Outcome) -> None:
        if isinstance(outcome, Failed) and outcome.renamed is not None:
            renamed = send_facts.renamed(message, outcome.renamed, ctx.clock.now_ms())
            await self._appender.append(ctx, renamed, retry=True)
        fact = send_facts.ended(message, outcome, ctx.clock.now_ms(), ctx.random)
        await self._appender.append(ctx, fact, retry=True)
        if isinstance(outcome, Sent) and outcome.metadata:
            await self._appender.append(ctx, send_facts.annotated(message, outcome, ctx.clock.now_ms()), retry=True)

    async def end_after_bug(self, ctx: Context, work: Work, error: Exception) -> None:
        """Ends an attempt that raised outside of the source's code, by the state in which it left the message."""
        message_id = work.message_id or ""
        ctx.log.error("send.failed_unexpectedly", **self._count_bug(error, message_id, work.source))
        try:
            message = await self._store.message(message_id)
            if message is not None and message.delivery is DeliveryState.PENDING:
                await self._record(ctx, message, Failed(kind="invalid", error=BUG_REASON))
            elif message is not None and message.worker == self._worker:
                await self._record(ctx, message, Lost(BUG_REASON))
        except BUGS as again:  # nothing of this message can be done now; others go on
            now_ms = monotonic_ms()
            ctx.log.error("send.failed_unexpectedly", **self._count_bug(again, message_id, work.source))  # noqa: TRY400
            self._postponed = {name: until for name, until in self._postponed.items() if until > now_ms}
            self._postponed[message_id] = now_ms + BUG_RETRY_MS

    def _count_bug(self, error: Exception, message_id: str, source: str) -> dict[str, str]:
        """The fields of its log line."""
        self._bugs["send"] += 1
        return {"message_id": message_id, "source": source, **bug_fields(error)}


def _ignore(_channel_id: str) -> None:
    pass


def _without_answer(outcome: Outcome, reason: str) -> Outcome:
    """The outcome without what the provider answered. A message whose id is unknown cannot be recorded as sent."""
    if isinstance(outcome, Failed):
        return replace(outcome, error=reason, code="", detail=None, renamed=None)
    return Lost(reason)


def _retry_in_ms(message: Message, now_ms: int) -> int:
    return send_facts.retry_in_ms(message.retry_at_ms, message.attempt_at_ms, now_ms)


async def delay_retry(ctx: Context) -> None:
    """Wait before work without a result is read again from the work table, so that the loop does not spin."""
    with ctx.waiting():
        await anyio.sleep(RETRY_S)
