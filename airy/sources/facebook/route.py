"""A webhook at `/facebook` becomes facts of pages. Instagram's entries are reported as accounts of that kind."""

from airy.bus.record import Record
from airy.sources.api import Channels, Routed
from airy.sources.meta import envelope


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    return envelope.route(record, channels, "facebook")
