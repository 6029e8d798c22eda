"""Message traces: one message end to end, from the provider's webhook to the last delivery, as a list of hops.

The store knows which records changed a message; they are read from the log by position. A record of the router names
the webhook it was made from. What no position leads to, the delivery attempts, is searched from the time of the change.
Nothing is written, and every read is bounded.
"""

from airy.commands.message_traces.hop import Hop, HopKind, MessageTrace
from airy.commands.message_traces.message_finder import AmbiguousMessage, TraceReference
from airy.commands.message_traces.process_hops import ProcessTimes
from airy.commands.message_traces.tracer import MessageTracer

__all__ = ["AmbiguousMessage", "Hop", "HopKind", "MessageTrace", "MessageTracer", "ProcessTimes", "TraceReference"]
