"""Fetches the attachments of messages from their providers into the storage of files, before their addresses expire.

A reader of changes that never waits for a fetch: it schedules what a change names and goes on, so a slow host delays no
other and no message. What is committed is the lowest offset with an unfinished fetch; a successor finds the rest again,
and skips what has a fact already. The outcome is a fact about the message: `data_<reference>` with the address of the
stored file, or `media.<n>.error` with the reason why there is none. Its id is a function of message and reference.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct

from airy.actors.bug_report import BUG_REASON, BUGS, BugCounts
from airy.actors.change_delivery import ChangeDelivery
from airy.actors.change_sink import AssignedPartition, ChangeBatch, ChangeId, Commit, ReaderLimits, Rebuild
from airy.actors.fact_appender import FactAppender
from airy.actors.fetch_schedule import AttachmentFetch, FetchSchedule
from airy.actors.fold_progress import WorkProgress
from airy.actors.message_sender import Credentials
from airy.actors.runtime import Backoff, Context
from airy.bug_fields import bug_fields
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.change_readers import MEDIA_FETCHER
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.media import attachment as attachments
from airy.media.attachment import Attachment
from airy.media.attachment_download import AttachmentDownloads, NotGiven, StorageDown, origin
from airy.media.library import StoredFile
from airy.model import ids, metadata
from airy.model.conversation import Message
from airy.model.fact import MetadataChanged
from airy.secret import Secret
from airy.sources.abilities import MediaReader
from airy.sources.api import Call, Source, Target
from airy.sources.catalogue import kind_of
from airy.store.api import ChangeReader, ConversationReader, EntityReader, StoredChange
from airy.task_group import task_group

PENDING_MAX = 10_000  # fetches that are scheduled; beyond it the changes wait in the store
RETRIES_MAX = 5_000  # of these, waiting for another attempt; beyond it one that fails is given up
ATTEMPTS_MAX = 7  # within two hours
ATTEMPTS_OF_NOT_GIVEN_MAX = 3
ATTEMPTS_OF_BUGS_MAX = 3
BACKOFF = Backoff(initial_s=5.0, factor=5.0, ceiling_s=3_600.0)
STORAGE_BACKOFF = Backoff(initial_s=5.0, ceiling_s=60.0)
REASON_CHARS_MAX = 300
LOOK_S = 1.0


class MediaStore(ChangeReader, ConversationReader, EntityReader, Protocol):
    """The part of the store that is used here."""


class MediaSources(Struct, frozen=True):
    """`source_of`: the source of an enabled kind of channel. `origins_of`: those its configuration names."""

    source_of: Callable[[str], Source | None]
    origins_of: Callable[[str], frozenset[str]]
    credentials: Credentials
    http: HttpClient  # for sources that ask for the address of a file


class _ChangedMessage(Struct):
    id: str


class _MessagePayload(Struct):
    message: _ChangedMessage


class _MessageChange(Struct):
    payload: _MessagePayload


_body = msgspec.json.Decoder(_MessageChange)


class MediaFetcher:
    position_check_s = float("inf")  # nothing but this actor moves the position

    def __init__(
        self,
        bus: Bus,
        store: MediaStore,
        progress: WorkProgress,
        downloads: AttachmentDownloads,
        sources: MediaSources,
        *,
        is_own: Callable[[str], bool],
        rebuild: Rebuild,
        enabled: bool = True,
        parallel_max: int = 8,
        counts: Counter[str] | None = None,
        bugs: BugCounts | None = None,
        limits: ReaderLimits | None = None,
    ) -> None:
        """`is_own`: whether an address is one of a file stored here."""
        self._store = store
        self._downloads = downloads
        self._sources = sources
        self._is_own = is_own
        self._enabled = enabled
        self._counts = Counter() if counts is None else counts
        self._bugs = Counter() if bugs is None else bugs
        self._appender = FactAppender(bus, progress)
        self._delivery = ChangeDelivery(bus, store, progress, MEDIA_FETCHER, self, rebuild=rebuild, limits=limits)
        self._wake = anyio.Event()
        self._storage_failures = 0
        self.schedule = FetchSchedule(parallel_max)

    async def run(self, ctx: Context) -> None:
        async with task_group() as tasks:
            tasks.start_soon(self._start_fetches, ctx, tasks)
            await self._delivery.run(ctx)
            tasks.cancel_scope.cancel()  # a file that is received is dropped; the next owner begins it again

    # --- the sink of changes

    def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self.schedule.drop(set(partitions))  # they are read again from the committed offset

    async def positions(
        self, ctx: Context, assigned: Mapping[TopicPartition, AssignedPartition], commit: Commit
    ) -> Mapping[TopicPartition, ChangeId]:
        del ctx, commit
        return {tp: each.position or (each.committed, -1) for tp, each in assigned.items()}

    async def deliver(self, ctx: Context, batch: ChangeBatch) -> None:
        assigned = batch.assigned
        for stored in batch.changes:
            if assigned.revoked or ctx.draining.is_set():
                return
            if self._enabled and attachments.may_have(stored.change.body):
                if len(self.schedule) >= PENDING_MAX:
                    raise Unavailable(f"{PENDING_MAX} attachments wait to be fetched", retry_after_s=LOOK_S)
                await self._plan(batch.tp, stored)
            assigned.position = (stored.position.offset, stored.nth)
        assigned.position = batch.last

    async def finished(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> Mapping[TopicPartition, int]:
        low_waters = self.schedule.low_waters()
        offsets: dict[TopicPartition, int] = {}
        for tp, each in assigned.items():
            if tp in low_waters:
                offsets[tp] = low_waters[tp]
            elif each.position is not None:
                offsets[tp] = max(each.position[0], each.drained_to or 0)
        return offsets

    def log_delay(self, ctx: Context, error: Unavailable) -> None:
        ctx.log.warning("media.delayed", error=str(error))

    async def _plan(self, tp: TopicPartition, stored: StoredChange) -> None:
        """Schedule what the message of a change still lacks, as it is now."""
        message = await self._store.message(_body.decode(stored.change.body).payload.message.id)
        if message is None or not message.source:
            return
        kind = kind_of(message.source)
        keys = set(message.metadata)
        for attachment in attachments.of_message(message, kind.capabilities.media):
            problem = attachments.key_problem(attachment, keys)
            keys |= set() if problem else set(attachment.keys)
            if self._is_own(attachment.reference) or await self._is_done(message, attachment):
                continue
            host = origin(attachment.url) if kind.capabilities.media == "url" else kind.name
            self.schedule.add(
                AttachmentFetch(
                    tp=tp,
                    offset=stored.position.offset,
                    conversation_id=message.conversation_id,
                    message_id=message.id,
                    channel_id=message.channel_id,
                    source=message.source,
                    attachment=attachment,
                    host=host,
                    problem=problem,
                )
            )
        self._wake.set()

    async def _is_done(self, message: Message, attachment: Attachment) -> bool:
        """Either fact may be of a former process."""
        if attachments.is_stored(attachment, message.metadata):
            return True
        return await self._store.accepted(message.conversation_id, _error_id(message.id, attachment))

    # --- fetching

    async def _start_fetches(self, ctx: Context, tasks: TaskGroup) -> None:
        while True:
            self._wake = anyio.Event()
            self._counts["waiting"] = len(self.schedule)
            for fetch in self.schedule.take(anyio.current_time()):
                tasks.start_soon(self._run_fetch, ctx, fetch)
            wait_s = self.schedule.due_in_s(anyio.current_time())
            with anyio.move_on_after(wait_s):
                await self._wake.wait()

    async def _run_fetch(self, ctx: Context, fetch: AttachmentFetch) -> None:
        try:
            await self._fetch(ctx, fetch)
        finally:
            self.schedule.release(fetch)
            self._wake.set()

    async def _fetch(self, ctx: Context, fetch: AttachmentFetch) -> None:
        if fetch.tp not in self._delivery.assigned:  # another process has it now
            self.schedule.remove(fetch)
            return
        try:
            stored = await self._attempt(fetch)
        except StorageDown as error:
            self._storage_failures += 1
            self._counts["retried"] += 1
            delay_s = STORAGE_BACKOFF.delay_s(self._storage_failures, ctx.random, at_least_s=error.retry_after_s or 0.0)
            self._later(ctx, fetch, delay_s, str(error))
        except Refused as error:
            await self._give_up(ctx, fetch, str(error))
        except Unavailable as error:
            attempts_max = ATTEMPTS_OF_NOT_GIVEN_MAX if isinstance(error, NotGiven) else ATTEMPTS_MAX
            await self._failed(ctx, fetch, str(error), attempts_max, error.retry_after_s)
        except BUGS as error:
            self._bugs["media"] += 1
            fields = bug_fields(error)  # without its text, which may quote a secret
            ctx.log.error("media.failed_unexpectedly", message_id=fetch.message_id, **fields)  # noqa: TRY400
            await self._failed(ctx, fetch, BUG_REASON, ATTEMPTS_OF_BUGS_MAX, None)
        else:
            self._storage_failures = 0
            await self._record(ctx, fetch, stored)

    async def _attempt(self, fetch: AttachmentFetch) -> StoredFile:
        message = await self._store.message(fetch.message_id)
        if message is None or message.deleted:
            raise Refused("the message is deleted")
        if fetch.problem:
            raise Refused(fetch.problem)
        call = await self._call(fetch)
        try:
            return await self._downloads.fetch(fetch.attachment, call, self._sources.origins_of(fetch.source))
        except StorageDown:
            raise
        except NotGiven as error:
            raise NotGiven(call.masked(str(error))) from None
        except Unavailable as error:
            raise Unavailable(call.masked(str(error)), retry_after_s=error.retry_after_s) from None
        except Refused as error:
            raise Refused(call.masked(str(error))) from None

    async def _call(self, fetch: AttachmentFetch) -> Call:
        if kind_of(fetch.source).capabilities.media == "url":
            return Call("GET", Secret(fetch.attachment.url), {})
        source, channel = self._sources.source_of(fetch.source), await self._store.channel(fetch.channel_id)
        if source is None or channel is None:
            raise Refused(f"there is no channel of kind {fetch.source} to fetch it with")
        reader: MediaReader = source  # type: ignore[assignment]  # the kind declares it
        target = Target(channel=channel, credentials=self._sources.credentials(channel))
        return await reader.media(self._sources.http, target, fetch.attachment.reference)

    async def _failed(
        self, ctx: Context, fetch: AttachmentFetch, reason: str, attempts_max: int, retry_after_s: float | None
    ) -> None:
        fetch.attempts += 1
        if fetch.attempts >= attempts_max or self.schedule.waiting_for_retry >= RETRIES_MAX:
            await self._give_up(ctx, fetch, reason)
            return
        self._counts["retried"] += 1
        delay_s = BACKOFF.delay_s(fetch.attempts, ctx.random, at_least_s=retry_after_s or 0.0)
        self._later(ctx, fetch, delay_s, reason)

    def _later(self, ctx: Context, fetch: AttachmentFetch, delay_s: float, reason: str) -> None:
        fields = {"message_id": fetch.message_id, "nth": fetch.attachment.nth, "in_s": round(delay_s, 1)}
        ctx.log.info("media.fetch_failed", error=reason[:REASON_CHARS_MAX], attempt=fetch.attempts, **fields)
        self.schedule.retry(fetch, anyio.current_time() + delay_s)

    async def _record(self, ctx: Context, fetch: AttachmentFetch, stored: StoredFile) -> None:
        address = metadata.value(stored.url)
        fact = self._fact(
            ctx,
            fetch,
            ids.derive(fetch.message_id, f":media:{fetch.attachment.reference}"),
            dict.fromkeys(fetch.attachment.keys, address),
            (fetch.attachment.error_key,),  # of an attachment that was there before an edit
        )
        await self._appender.append(ctx, fact, retry=True)
        self._counts["stored"] += 1
        self.schedule.remove(fetch)

    async def _give_up(self, ctx: Context, fetch: AttachmentFetch, reason: str) -> None:
        text = reason[:REASON_CHARS_MAX]
        ctx.log.warning("media.not_fetched", message_id=fetch.message_id, nth=fetch.attachment.nth, error=text)
        error = {fetch.attachment.error_key: metadata.value(text)}
        fact = self._fact(ctx, fetch, _error_id(fetch.message_id, fetch.attachment), error)
        await self._appender.append(ctx, fact, retry=True)
        self._counts["failed"] += 1
        self.schedule.remove(fetch)

    def _fact(
        self, ctx: Context, fetch: AttachmentFetch, fact_id: str, settings: metadata.Flat, remove: tuple[str, ...] = ()
    ) -> MetadataChanged:
        return MetadataChanged(
            id=fact_id,
            conversation_id=fetch.conversation_id,
            channel_id=fetch.channel_id,
            source=fetch.source,
            at_ms=ctx.clock.now_ms(),
            subject="message",
            subject_id=fetch.message_id,
            set=settings,
            remove=remove,
        )


def _error_id(message_id: str, attachment: Attachment) -> str:
    return ids.derive(message_id, f":media:{attachment.reference}:error")
