"""Logging: one line for each unit of work, JSON outside a terminal, pretty inside one, never with a
secret.

Everything goes through here, also what libraries say through `logging`: one shape, one place that masks.
Two masks, because neither is enough alone: by field name, for secrets that come and go with requests; and
by value over the finished line, for those the process holds, wherever they turn up (a traceback, a
warning). Event names are a contract with whoever searches logs: `EVENTS` lists them, and a test keeps it
true.
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
from airy.secret import MASK

Format = Literal["auto", "json", "console"]

FILE_BYTES_MAX = 10_485_760
FILES_MAX = 3
TEXT_CHARS_MAX = 8_192  # of one field; a longer text is cut
DEPTH_MAX = 6
SECRET_CHARS_MIN = 6  # shorter values would mask words

EVENTS: dict[str, str] = {  # name to meaning; the runtime's are sentences, for they also stand in the tree's errors
    # the runtime, with the actor's path
    "ready": "an actor does its work",
    "crashed, restarts": "a bug ended an actor; it starts again after a pause",
    "crashed, is not restarted": "a bug ended an actor whose plan says it is not started again",
    "crashed once too often": "the budget of restarts is spent; the crash goes up to the next supervisor",
    "dependency unavailable, tries again": "what an actor needs cannot serve; it is tried again without limit",
    "failed while stopping": "an actor raised while it was cleaning up",
    "abandoned: it ignored its cancellation": "an actor did not end in time and was left behind",
    "the event loop was blocked": "something held the loop longer than anything should",
    "process.started": "the system runs and answers at `url`",
    "process.failed": "an error nobody foresaw ended the process",
    # the edge
    "ingress.failed": "a provider's webhook could not be taken; it was answered 5xx and will be posted again",
    "request.failed": "a handler raised what it should not; the caller got 500 under this request id",
    "webhook.headers_unreadable": "a webhook's stored headers do not open with the configured keys",
    # sources
    "channel.credentials_refused": "the provider refused a channel's token; its sends stop until it is connected again",
    "store.rebuilt": "the store did not belong to this log, or the log lost records it had yet to fold; it starts over",
    "webhooks.dead_lettered": "provider webhooks nobody can read; the first is named, all are in the dead letter topic",
    "webhooks.parked": "provider webhooks for accounts nobody has connected; the first is named, all wait 14 days",
    "channel.still_subscribed": "a channel is disconnected, and the provider could not be told to stop its webhooks",
    "channel.undecodable": "a record of the channels topic is not a channel; it is a dead letter already",
    "profile.unavailable": "a contact's profile could not be fetched; it is tried again",
    "send.ended": "one attempt to send a message is over, with its outcome; info unless it was sent",
    "webhooks.unparked": "webhooks that waited for an account were replayed, because it was connected",
    # outbound webhooks
    "publisher.waits": "the queue is full or cannot serve; the log holds what waits",
    "publisher.fenced": "a partition has another owner by now; nothing was committed",
    "publisher.left_uncommitted": "progress could not be committed when a partition went; some deliveries are repeated",
    "publisher.queue_is_elsewhere": "somebody else queued meanwhile; the queue's position is read again",
    "publisher.queue_moved": "the queue is not where we left it: it lost its tail, or another publisher is at work",
    "dispatcher.waits": "the queue cannot serve; deliveries wait",
    "delivery.failed": "one attempt to deliver a webhook failed; what follows is decided by the schedule",
    "delivery.waits": "a webhook's settings could not be read; its deliveries wait",
    "delivery.lease_lost": "a delivery took longer than its lease; somebody else makes it again",
    "delivery.outcome_lost": "what became of a delivery could not be recorded; it is made again, with the same id",
    "delivery.buried": "a delivery was given up and is a dead letter, which can be replayed",
    "delivery.not_buried": "a delivery is to be given up, but the log could not take it; it is tried once more",
    "delivery.burial_refused": "no log takes a delivery that was given up, so it is gone: it is too large",
    "delivery.put_again": "a dead delivery that somebody wants made again was not in the queue; it is now",
    "delivery.replay_waits": "the queue could not take what is to be delivered again; a dispatcher puts it there soon",
    "dead_letters.wait": "what was given up could not be looked after; it is tried again",
    "dead_letters.pruned": "the oldest dead deliveries were forgotten",
    "webhook.dropped": "the deliveries of a webhook that is no longer subscribed were forgotten",
    "webhook.switched_off": "a webhook that did nothing but fail is unsubscribed",
    "webhook.not_switched_off": "a failing webhook could not be unsubscribed; it is tried again",
    "attempts.wait": "records of attempts could not be written; they wait, and the oldest are dropped beyond a bound",
    "attempts.refused": "records of attempts were refused by the log and are lost; deliveries are not affected",
    # the queue that processes share
    "queue.is_new": "Redis held no queue of ours; one begins",
    "queue.wiped": "Redis was emptied or replaced; what is undelivered is queued again from the log",
    "queue.memory_high": "Redis uses most of its maxmemory; the publisher waits once it uses still more",
    "queue.memory_unbounded": "Redis has no maxmemory: it may take all there is and be killed for it",
    # the store
    "store.damaged": "the store's file is damaged; it is built again from the log at the next start",
    "record.failed": "the fold of one record failed; it is kept aside with its reason, the rest goes on",
    "store.checkpoint_overdue": "the store's write-ahead log grows and could not be copied back",
    "store.rebuild": "the store on disk is unusable or of another version; it is folded again from the log",
    # the simulated outside
    "bot.denied": "the demonstration's bot did not believe a delivery",
    "bot.postponed": "the demonstration's bot could not answer and asked for the delivery again",
    "bot.refused": "the demonstration's bot may not answer, and let it be",
}

_SECRET_FIELD = re.compile(
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
) -> None:
    """Send every log line of this process to `file` (rotated, JSON), else to `stream` (stderr)."""
    stream = stream or sys.stderr
    pretty = file is None and (format == "console" or (format == "auto" and stream.isatty()))
    handler = _file_handler(file) if file is not None else logging.StreamHandler(stream)
    handler.setFormatter(_formatter(pretty=pretty, colors=stream.isatty(), mask=masker(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # configuring again must reach every logger
    )


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that hides these values in any text, also where JSON or `repr` escaped them."""
    long_enough = {secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN}
    spellings = long_enough | {msgspec.json.encode(secret).decode()[1:-1] for secret in long_enough}
    spellings |= {repr(secret)[1:-1] for secret in long_enough}
    if not spellings:
        return str
    longest_first = sorted(spellings, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(MASK, text)


def mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide fields that are named like secrets, at any depth, and cut what is too long."""
    return {name: _clean(name, value, 0) for name, value in event.items()}


def _clean(name: str, value: object, depth: int) -> object:
    if name and _SECRET_FIELD.search(name) and not isinstance(value, bool | int | None):
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
    """The trace a line belongs to, where there is one. What is said explicitly stays; what is empty goes."""
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
    def __init__(self, processors: Sequence[Processor], mask: Callable[[str], str]) -> None:
        super().__init__(foreign_pre_chain=[structlog.stdlib.add_logger_name, *_SHARED], processors=processors)
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


def _formatter(*, pretty: bool, colors: bool, mask: Callable[[str], str]) -> logging.Formatter:
    start = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if pretty:  # a plain traceback: the pretty ones print local variables, and those hold secrets
        plain = structlog.dev.plain_traceback
        return _Formatter([start, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)], mask)
    errors = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return _Formatter([start, errors, structlog.processors.JSONRenderer(serializer=_json)], mask)


def _json(event: EventDict, **_: object) -> str:
    """What happened first, so that lines can be read as they pass."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=repr).decode()


def _file_handler(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_MAX - 1, encoding="utf-8")
