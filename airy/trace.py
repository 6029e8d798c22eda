"""W3C trace context: which request a piece of work belongs to, from a provider's webhook to the subscriber's.

A trace is carried as the one header `traceparent`, over HTTP and in the log alike. Airy keeps the trace id and gives
each request it takes or makes a span id of its own; both are derived from a name (a request's id, a delivery's
attempt), so whoever folds the same record carries the same trace. No spans are recorded or exported: log lines with
`trace_id` are what Airy adds to a trace. `tracestate` is not carried.

Parsing is as strict as the recommendation: what is not a valid `traceparent` is no trace, and a new one begins.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from msgspec import Struct

HEADER = "traceparent"
SAMPLED, RANDOM = 0x01, 0x02
KNOWN_FLAGS = SAMPLED | RANDOM  # others have no meaning yet, and must not be passed on
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)


class Trace(Struct, frozen=True, gc=False):
    """`span_id` is the request this came from: the parent of whatever is done next."""

    trace_id: str
    span_id: str
    flags: int = SAMPLED

    @property
    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self, name: str) -> "Trace":
        """The same trace, one step further. The same name makes the same step."""
        span_id = sha256(f"{self.trace_id}{self.span_id}{name}".encode()).hexdigest()[:16]
        return Trace(self.trace_id, span_id, self.flags)


def parse(text: str) -> Trace | None:
    """None for what is not a `traceparent`. Of a later version, the part that is known is read."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    return Trace(trace_id, span_id, int(flags, 16) & KNOWN_FLAGS)


def begun(name: str) -> Trace:
    """A new trace. `name` is unique and cannot be guessed, so its hash is as good as chance; subscribers may record."""
    digest = sha256(name.encode()).hexdigest()
    return Trace(digest[:32], digest[32:48], SAMPLED | RANDOM)


def continued(given: Iterable[bytes], name: str) -> Trace:
    """The trace a request came with, one step further; a new one where it came with none, or with several."""
    values = list(given)
    trace = parse(values[0].decode("latin-1")) if len(values) == 1 else None
    return begun(name) if trace is None else trace.child(name)


def trace_id_of(header: str) -> str:
    """For a log line; empty if there is none."""
    trace = parse(header) if header else None
    return trace.trace_id if trace else ""


# --- the trace this task works for

_current: ContextVar[str] = ContextVar("traceparent", default="")


@contextmanager
def under(header: str) -> Iterator[None]:
    """What is logged or written to the log of facts inside belongs to this trace; empty: to none."""
    token = _current.set(header)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    return _current.get()


def headers() -> tuple[tuple[str, bytes], ...]:
    """Of a record that is written now."""
    header = _current.get()
    return ((HEADER, header.encode()),) if header else ()
