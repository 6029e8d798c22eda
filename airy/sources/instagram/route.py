"""A webhook of Meta becomes facts of Instagram accounts, whichever path it arrived at."""

from airy.bus.record import Record
from airy.sources.api import Channels, Routed
from airy.sources.meta import envelope


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    return envelope.route(record, channels, "instagram")
