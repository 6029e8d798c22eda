"""Checks channels at their providers: that an account still sends its webhooks here and takes our calls.

A provider ends the webhooks of an installation that did not answer for a while, and tokens expire; neither is told.
The source asks, puts right what it can and renews credentials before they expire; what it found is in the channel's
metadata. Kinds declare how often (`check_every_s`); a channel is also checked soon after it was connected, after this
process was assigned it (a start may follow an outage), and after its credentials were refused.

The connector that owns the partition of the channel's id checks it, so a fleet checks each channel once. At a handover
two processes may check the same one: checks may be repeated at any time.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from math import inf

import anyio
from msgspec import Struct
from structlog.contextvars import bound_contextvars

from airy import topics
from airy.actors.bug_report import BUGS, BugCounts
from airy.actors.fold_progress import WorkProgress
from airy.actors.message_sender import Credentials, OutboundKind
from airy.actors.partition_readiness import PartitionReadiness
from airy.actors.runtime import Backoff, Context
from airy.bug_fields import bug_fields
from airy.errors import Misconfigured, Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import channel_health
from airy.model.entity import Channel
from airy.sources.abilities import Checker
from airy.sources.api import AppRateLimited, Checked, Target
from airy.store.api import EntityReader

RecordCheck = Callable[[Channel, Checked], Awaitable[None]]
"""Writes what a check found into the channel. Raises `Unavailable`, and `Refused` for a conflict."""

LOOK_S = 15.0  # between two looks at the list of channels
SOON_S = 60.0  # a new channel is checked within this time, spread over it
AGAIN_S_MIN = 300.0  # between two checks of a channel whose credentials are refused
PARALLEL_MAX = 4
JITTER = 0.1
BACKOFF = Backoff(initial_s=30.0, ceiling_s=3_600.0)
OUTCOMES = ("ok", "repaired", "renewed", "failing", "unavailable")  # exported from 0 on: a rate needs a first sample


class CheckedKind(Struct, frozen=True):
    """A kind whose channels are checked, and the partitions this process acts on for it."""

    outbound: OutboundKind
    readiness: PartitionReadiness

    @property
    def every_s(self) -> float:
        return self.outbound.kind.check_every_s or inf


class _Schedule(Struct):
    credentials: tuple[object, ...]  # sealed; with others the channel is a new one
    due_at: float  # monotonic
    checked_at: float = -inf
    failures: int = 0  # consecutive checks without an answer


class ChannelChecks:
    """`counts`: checks by outcome."""

    def __init__(
        self,
        store: EntityReader,
        progress: WorkProgress,
        kinds: Mapping[str, CheckedKind],
        http: HttpClient,
        credentials: Credentials,
        record: RecordCheck,
        *,
        counts: Counter[str] | None = None,
        bugs: BugCounts | None = None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._kinds = kinds
        self._http = http
        self._credentials = credentials
        self._record = record
        self._counts = Counter() if counts is None else counts
        self._bugs: BugCounts = Counter() if bugs is None else bugs
        self._schedules: dict[str, _Schedule] = {}  # by channel, of those this process checks

    async def run(self, ctx: Context) -> None:
        """Until it is cancelled."""
        while self._kinds:
            if self._progress.caught_up:
                await self._check_due(ctx, await self._owned(ctx))
            await anyio.sleep(LOOK_S)

    def check_soon(self, channel_id: str) -> None:
        """The provider refused the channel's credentials."""
        schedule = self._schedules.get(channel_id)
        if schedule is not None:
            soon = max(anyio.current_time(), schedule.checked_at + AGAIN_S_MIN)
            schedule.due_at = min(schedule.due_at, soon)

    async def _owned(self, ctx: Context) -> list[Channel]:
        """The connected channels that this process checks. Schedules of others are dropped."""
        ready = {name: {tp.partition for tp in await each.readiness.ready()} for name, each in self._kinds.items()}
        now = anyio.current_time()
        owned = [
            channel
            for channel in await self._store.channels()
            if topics.EVENTS.partition(channel.id) in ready.get(channel.source, ())
        ]
        before, self._schedules = self._schedules, {}
        for channel in owned:
            credentials = (channel.token, *sorted(channel.secrets.items()))
            schedule = before.get(channel.id)
            if schedule is None or schedule.credentials != credentials:
                schedule = _Schedule(credentials, now + ctx.random.uniform(0.0, SOON_S))
            self._schedules[channel.id] = schedule
        return owned

    async def _check_due(self, ctx: Context, channels: Collection[Channel]) -> None:
        now = anyio.current_time()
        due = [each for each in channels if self._schedules[each.id].due_at <= now]
        for first in range(0, len(due), PARALLEL_MAX):
            async with anyio.create_task_group() as tasks:
                for channel in due[first : first + PARALLEL_MAX]:
                    tasks.start_soon(self._check, ctx, channel)

    async def _check(self, ctx: Context, channel: Channel) -> None:
        kind, schedule = self._kinds[channel.source], self._schedules[channel.id]
        if (app_s := kind.outbound.app_resumes_in_ms() / 1000) > 0:
            schedule.due_at = anyio.current_time() + app_s
            return
        schedule.checked_at = anyio.current_time()
        schedule.due_at = schedule.checked_at + kind.every_s * ctx.random.uniform(1 - JITTER, 1 + JITTER)
        with bound_contextvars(channel_id=channel.id):
            try:
                checked = await self._ask(ctx, channel, kind)
                await self._record(channel, checked)
                schedule.failures = 0
            except (Unavailable, Refused) as error:  # the provider cannot say, or the result cannot be written
                self._postpone(ctx, schedule, error)
                if isinstance(error, AppRateLimited):
                    kind.outbound.pauses.pause(channel.source, error.retry_after_s or SOON_S)
            except Misconfigured:
                raise
            except BUGS as error:  # in one source, about one channel
                self._bugs["check"] += 1
                ctx.log.error("channel.check_failed_unexpectedly", **bug_fields(error))  # noqa: TRY400
            else:
                self._tell(ctx, channel, checked)

    async def _ask(self, ctx: Context, channel: Channel, kind: CheckedKind) -> Checked:
        checker: Checker = kind.outbound.source  # type: ignore[assignment]  # the kind declares it
        try:
            credentials = self._credentials(channel)
        except Refused as error:
            return Checked(problem=f"the channel's credentials cannot be read: {error}")
        target = Target(channel=channel, credentials=credentials)
        return await checker.check(self._http, target, ctx.clock.now_ms())

    def _postpone(self, ctx: Context, schedule: _Schedule, error: Exception) -> None:
        schedule.failures += 1
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        delay_s = BACKOFF.delay_s(schedule.failures, ctx.random, at_least_s=asked_s or 0.0)
        schedule.due_at = min(schedule.due_at, anyio.current_time() + delay_s)
        self._counts["unavailable"] += 1
        ctx.log.info("channel.not_checked", error=str(error), in_s=round(delay_s, 1))

    def _tell(self, ctx: Context, channel: Channel, checked: Checked) -> None:
        if checked.problem:
            self._counts["failing"] += 1
            ctx.log.error("channel.failing", error=checked.problem)
            return
        if channel_health.is_failing(channel):
            ctx.log.info("channel.recovered")
        if checked.repaired:
            ctx.log.warning("channel.repaired", repaired=checked.repaired)
        if checked.credentials:
            ctx.log.info("channel.credentials_renewed")
        self._counts["renewed" if checked.credentials else "repaired" if checked.repaired else "ok"] += 1


def checked_kinds(outbound: Sequence[tuple[OutboundKind, PartitionReadiness]]) -> dict[str, CheckedKind]:
    """By name, those that declare checks."""
    return {each.kind.name: CheckedKind(each, readiness) for each, readiness in outbound if each.kind.check_every_s}
