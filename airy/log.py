"""Configures logging: one line per unit of work, JSON outside a terminal, coloured on one, never with a secret.

All log output passes through here, that of libraries included. Two masks, because neither suffices alone: by field
name, for secrets in requests; and by value over the finished line, for the secrets of the configuration, wherever they
occur (a traceback, a warning). Event names are an interface for operators: `EVENTS` lists them, and a test checks it.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, TextIO

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from airy import trace
from airy.log_ring import RECENT, LogRing
from airy.secret import MASK

Format = Literal["auto", "json", "console"]

FILE_BYTES_MAX = 10_485_760
FILES_MAX = 3
TEXT_CHARS_MAX = 8_192  # of one field; longer text is truncated
DEPTH_MAX = 6
SECRET_CHARS_MIN = 6  # shorter values would mask words

EVENTS: dict[str, str] = {  # name to meaning; the runtime's are sentences, for they also stand in the tree's errors
    # the runtime, with the actor's path
    "actor.ready": "an actor has started and is working",
    "actor.restarting": "an actor crashed; it is restarted after a pause",
    "actor.crashed": "an actor crashed, and its child specification does not restart it",
    "actor.restart_limit_exceeded": "the restart intensity is exceeded; the crash escalates to the next supervisor",
    "actor.dependency_unavailable": "a dependency of an actor is unavailable; the actor is restarted without limit",
    "actor.stop_failed": "an actor raised during its clean-up",
    "actor.abandoned": "an actor ignored its cancellation and was left behind",
    "event_loop.blocked": "a call blocked the event loop for too long",
    "process.started": "the process serves requests at `url`",
    "process.failed": "an unexpected error ended the process",
    "config.reloading": "the process starts again with the changed configuration",
    "config.reverted": "the changed configuration did not start, for the `reason`; the former one runs again",
    # HTTP
    "audit.outcome_not_recorded": "an administrative write ended, and the log did not take its outcome",
    "chatplugin.receipt_delayed": "the log is unavailable: messages a visitor was handed are handed over again",
    "chatplugin.resume_token_reused": "a replaced resume token was used again; the conversation's visitor tokens end",
    "login.rejected": "a person with a verified address that may not log in",
    "ingress.failed": "a provider's webhook could not be appended to the log; the provider got 5xx and will retry",
    "websocket.failed": "a websocket handler raised an unexpected error; its session was closed",
    "request.failed": "a handler raised an unexpected error; the caller got 500 with this request id",
    "webhook.headers_unreadable": "a webhook's stored headers cannot be unsealed with the configured keys",
    # sources
    "channel.credentials_refused": "the provider refused a channel's token; its sends stop until it is connected again",
    "channel.check_failed_unexpectedly": "a bug ended the check of a channel at its provider; it is repeated later",
    "channel.credentials_renewed": "a channel's credentials were replaced before they expired",
    "channel.failing": "a channel does not work at its provider: `error` says why, and so does the channel's metadata",
    "channel.not_checked": "the provider could not be asked about a channel; it is checked again in `in_s`",
    "channel.recovered": "a channel that was failing works again",
    "channel.repaired": "a channel's webhooks had ended at its provider and were subscribed to again",
    "channel.paused": "the provider asked for fewer calls; a channel's sends and look-ups wait for `for_s`",
    "partition.held": "a record is newer than this process; its partition is not folded any further until an upgrade",
    "store.rebuilt": "the store belonged to another log, or missed records the log has lost; it is rebuilt",
    "webhooks.dead_lettered": "undecodable provider webhooks; the first is named, all are in the dead letter topic",
    "webhooks.noted": "provider webhooks with parts that hold no content and say nothing to keep; the first is named",
    "webhooks.parked": "provider webhooks without a connected channel; the first is named, all are kept 14 days",
    "channel.slowed_down": "a provider reports that a limit is near: sends wait between messages",
    "channel.still_subscribed": "a disconnected channel could not be unsubscribed from webhooks at its provider",
    "profile.unavailable": "a contact's profile could not be fetched; it is retried",
    "send.delayed": "a claim could not be written because the log is unavailable; the send is tried again",
    "send.encode_failed": "a bug in a source: a message could not be turned into a call, and is marked as failed",
    "send.failed_unexpectedly": "a bug ended an attempt to send; the message failed, or may have arrived",
    "send.wait_failed_unexpectedly": "a bug kept a message waiting for its conversation; it is looked at again later",
    "send.outcome_not_recordable": "a provider's answer cannot be in the log; the outcome is recorded without it",
    "profile.failed_unexpectedly": "a bug ended the look-up of a contact's profile; it is tried again later",
    "store.lagging": "the store took long to fold a record that a send waits for; the send goes on when it has",
    "send.ended": "an attempt to send a message ended, with its outcome; level info unless it was sent",
    "signal.failed": "the provider did not show that a message was read, or that an answer is written; level info",
    "signal.failed_unexpectedly": "a bug ended a signal to a contact",
    "media.delayed": "changes wait before their attachments are scheduled; level warning",
    "media.failed_unexpectedly": "a bug ended the fetch of an attachment; it is tried three times",
    "media.fetch_failed": "an attachment was not fetched; another attempt follows",
    "media.not_fetched": "an attachment is given up; the message's metadata has the reason",
    "media.storage_refuses": "the storage of files rejects a request: correct its bucket, credentials or rights",
    "media.storage_unavailable": "the storage of files cannot be reached; clients are answered 503",
    "webhooks.replayed": "parked webhooks were replayed, because their account was connected",
    # readers of changes
    "change_reader.delayed": "a reader's effect or the log is unavailable; its partition is retried after a back-off",
    "change_reader.change_refused": "a reader's effect refused a change, which is a dead letter of the reader",
    "change_reader.changes_missed": "changes were pruned before a reader read them, because its component was disabled",
    "change_reader.fenced": "a partition has another owner; nothing was committed",
    "change_reader.commit_failed": "offsets could not be committed at a revocation; some changes are repeated",
    # outbound webhooks
    "publisher.backpressure": "the queue is full or unavailable; changes stay in the log until it accepts them",
    "publisher.position_conflict": "another publisher queued changes; the queue's position is read again",
    "publisher.position_changed": "the queue's position moved: it lost its tail, or another publisher is active",
    "dispatcher.queue_unavailable": "the queue is unavailable; deliveries are delayed",
    "delivery.failed": "an attempt to deliver a webhook failed; the retry schedule decides what follows",
    "delivery.failed_unexpectedly": "a bug ended an attempt to deliver; the retry schedule decides what follows",
    "delivery.webhook_unavailable": "a webhook's settings could not be read; its deliveries are delayed",
    "delivery.lease_lost": "a delivery took longer than its lease; another dispatcher repeats it",
    "delivery.outcome_lost": "a delivery's outcome could not be recorded; it is repeated with the same id",
    "delivery.dead_lettered": "a delivery was given up and is a dead letter, which can be replayed",
    "delivery.dead_letter_delayed": "a dead letter could not be written to the log; it is retried",
    "delivery.dead_letter_refused": "a dead letter is too large for the log; the delivery is lost",
    "delivery.requeued": "a dead delivery with a replay request was missing from the queue and was queued again",
    "delivery.replay_delayed": "the queue could not accept a replay; a dispatcher queues it later",
    "dead_deliveries.delayed": "dead deliveries could not be maintained; it is retried",
    "dead_deliveries.pruned": "the oldest dead deliveries were deleted",
    "webhook.deliveries_dropped": "the deliveries of an unsubscribed webhook were deleted",
    "webhook.disabled": "a webhook was unsubscribed, because all of its deliveries failed",
    "webhook.disable_failed": "a failing webhook could not be unsubscribed; it is retried",
    "attempts.delayed": "attempt records could not be written; they are buffered, and above a bound dropped",
    "attempts.not_kept": "the webhook queue did not take recent attempts; they are in the log",
    "attempts.refused": "the log refused attempt records, which are lost; deliveries are not affected",
    # the Redis queue
    "queue.created": "Redis held no queue of this installation; a new one was created",
    "queue.wiped": "Redis was emptied or replaced; undelivered changes are queued again from the log",
    "queue.memory_high": "Redis uses most of its maxmemory; above the next limit the publisher pauses",
    "queue.memory_unbounded": "Redis has no maxmemory: it may exhaust the machine's memory and be killed",
    # the store
    "store.damaged": "the store is damaged; it is rebuilt from the log",
    "dead_letter.replayed": "an operator replayed a dead letter: the original record is in its topic again",
    "dead_letter.discarded": "an operator discarded a dead letter",
    "record.failed": "a record could not be folded; it is a dead letter with its reason",
    "store.disk_full": "the disk of the store is full; folding waits until there is space",
    "store.checkpoint_failed": "the store's write-ahead log could not be checkpointed; it is tried again",
    "store.checkpoint_overdue": "the store's write-ahead log grows and could not be checkpointed",
    "store.rebuild_started": "the store on disk is damaged or of another version; it is rebuilt from the log",
    # the demo
    "bot.delivery_rejected": "the demo bot could not verify a delivery",
    "bot.send_unavailable": "the demo bot could not reply and requested a retry of the delivery",
    "bot.send_refused": "the API refused the demo bot's reply; the bot drops it",
}

SECRET_FIELD = re.compile(
    r"token|secret|passw|authorization|cookie|signature|credential|(api|private|signing)_?key", re.IGNORECASE
)
_QUIET = ("uvicorn.access", "aiohttp.access", "httpx", "asyncio")


def configure(
    *,
    level: str = "info",
    format: Format = "auto",  # noqa: A002 - the key's name in airy.yaml
    secrets: Sequence[str] = (),
    file: Path | None = None,
    stream: TextIO | None = None,
    ring: LogRing = RECENT,
) -> None:
    """Send every log line of this process to `file` (rotated, JSON), else to `stream` (stderr); and to `ring`, as the
    same JSON.
    """
    stream = stream or sys.stderr
    pretty = file is None and (format == "console" or (format == "auto" and stream.isatty()))
    handler = _file_handler(file) if file is not None else logging.StreamHandler(stream)
    mask = masker(secrets)
    handler.setFormatter(_pretty(colors=stream.isatty(), mask=mask) if pretty else _json_lines(mask, ring))
    root = logging.getLogger()
    root.handlers[:] = [handler, _RingHandler(_json_lines(mask, ring))] if pretty else [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a second `configure` must affect every logger
    )


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that masks these values in any text, also when JSON or `repr` escaped them."""
    long_enough = {secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN}
    spellings = long_enough | {msgspec.json.encode(secret).decode()[1:-1] for secret in long_enough}
    spellings |= {repr(secret)[1:-1] for secret in long_enough}
    if not spellings:
        return str
    longest_first = sorted(spellings, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(MASK, text)


def mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask fields named like secrets, at any depth, and truncate long text."""
    return {name: _clean(name, value, 0) for name, value in event.items()}


def _clean(name: str, value: object, depth: int) -> object:
    if name and SECRET_FIELD.search(name) and not isinstance(value, bool | int | None):
        return MASK
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARS_MAX else value[:TEXT_CHARS_MAX] + "…"
    if depth >= DEPTH_MAX:
        return repr(value)[:TEXT_CHARS_MAX]
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", item, depth + 1) for item in value]
    return value


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the trace id of the current context. An explicit one is kept; an empty one is removed."""
    traced = event.get("trace_id") or trace.trace_id_of(trace.current())
    if traced:
        event["trace_id"] = traced
    else:
        event.pop("trace_id", None)
    return event


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    add_trace,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    mask_fields,
]


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """`ring` gets each line that it makes."""

    def __init__(
        self, processors: Sequence[Processor], mask: Callable[[str], str], *, ring: LogRing | None = None
    ) -> None:
        super().__init__(foreign_pre_chain=[structlog.stdlib.add_logger_name, *_SHARED], processors=processors)
        self._mask = mask
        self._ring = ring

    def format(self, record: logging.LogRecord) -> str:
        line = self._mask(super().format(record))
        if self._ring is not None:
            self._ring.append(line.encode("utf-8", "replace"))
        return line


class _RingHandler(logging.Handler):
    """For a process whose own output is not JSON."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


def _pretty(*, colors: bool, mask: Callable[[str], str]) -> logging.Formatter:
    """With plain tracebacks: rich ones print local variables, which hold secrets."""
    plain = structlog.dev.plain_traceback
    return _Formatter([_META, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)], mask)


def _json_lines(mask: Callable[[str], str], ring: LogRing) -> logging.Formatter:
    errors = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return _Formatter([_META, errors, structlog.processors.JSONRenderer(serializer=_json)], mask, ring=ring)


_META = structlog.stdlib.ProcessorFormatter.remove_processors_meta


def _json(event: EventDict, **_: object) -> str:
    """With time, level and event first, for readability."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=repr).decode()


def _file_handler(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_MAX - 1, encoding="utf-8")
