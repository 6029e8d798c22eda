"""Publishes records of concurrent callers together: a publish costs about the same for one as for a few dozen."""

from airy.batcher import Batcher
from airy.bus.api import Bus
from airy.bus.record import Position, ProducerRecord
from airy.errors import Refused

RECORDS_MAX = 256
BYTES_MAX = 1_048_576


def publish_batcher(
    bus: Bus, *, records_max: int = RECORDS_MAX, gather_turns: int = 0
) -> Batcher[ProducerRecord, Position]:
    """One publish in flight, in the order of the calls. Each caller gets the position of its record, or the error its
    record alone would get. The publish of a cancelled caller may be repeated for the others: ids must be the same.
    """
    return Batcher(
        lambda records: bus.publish(records),  # noqa: PLW0108 - looked up at each call, as tests replace it
        items_max=records_max,
        size_max=BYTES_MAX,
        size_of=lambda record: len(record.value or b""),
        gather_turns=gather_turns,
        shield=False,
        split_on=Refused,
    )
