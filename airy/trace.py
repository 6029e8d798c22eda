"""W3C trace context: propagates the trace of a request from a provider's webhook to the subscriber's.

The header `traceparent` carries it over HTTP and in the log. Airy keeps the trace id and gives each request it receives
or makes a new span id, derived from a name (the id of a request, the attempt of a delivery), so that all processes
derive the same span for the same record. Spans are not recorded or exported: Airy's part of a trace is its log lines
with `trace_id`. `tracestate` is not propagated.

Parsing is as strict as the recommendation: an invalid `traceparent` is ignored, and a new trace begins.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from msgspec import Struct

HEADER = "traceparent"
SAMPLED, RANDOM = 0x01, 0x02
KNOWN_FLAGS = SAMPLED | RANDOM  # other flags are reserved and must not be propagated
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)


class Trace(Struct, frozen=True, gc=False):
    """`span_id`: the current request, the parent of the next span."""

    trace_id: str
    span_id: str
    flags: int = SAMPLED

    @property
    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self, name: str) -> "Trace":
        """A child span of the same trace. Equal names give equal spans."""
        span_id = sha256(f"{self.trace_id}{self.span_id}{name}".encode()).hexdigest()[:16]
        return Trace(self.trace_id, span_id, self.flags)


def parse(text: str) -> Trace | None:
    """None for an invalid `traceparent`. Of a later version, the known part is used."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    return Trace(trace_id, span_id, int(flags, 16) & KNOWN_FLAGS)


def new_trace(name: str) -> Trace:
    """A sampled new trace. `name` is unique and cannot be guessed, so its hash serves as a random id."""
    digest = sha256(name.encode()).hexdigest()
    return Trace(digest[:32], digest[32:48], SAMPLED | RANDOM)


def from_request(headers: Iterable[bytes], name: str) -> Trace:
    """A child span of the request's trace; a new trace if its `traceparent` is missing or repeated."""
    values = list(headers)
    trace = parse(values[0].decode("latin-1")) if len(values) == 1 else None
    return new_trace(name) if trace is None else trace.child(name)


def trace_id_of(header: str) -> str:
    """For a log line; empty without a trace."""
    trace = parse(header) if header else None
    return trace.trace_id if trace else ""


# --- the trace of the current task

_current: ContextVar[str] = ContextVar("traceparent", default="")


@contextmanager
def attach(header: str) -> Iterator[None]:
    """Log lines and records written inside the block belong to this trace; empty: to none."""
    token = _current.set(header)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    return _current.get()


def headers() -> tuple[tuple[str, bytes], ...]:
    """Headers for a record written in the current trace."""
    header = _current.get()
    return ((HEADER, header.encode()),) if header else ()
