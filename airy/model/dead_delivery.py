"""A dead delivery: a webhook delivery that failed for the last time, with everything needed to show and replay it
under the same id and with the same bytes.

Each death of a delivery is a record of its own and no record changes another; the newest record of a delivery is its
state. It is kept until the delivery succeeds or retention removes it. A replay request is written into the record, so
it survives the loss of the queue that carries it out.
"""

from msgspec import Raw, Struct, field


class DeadDelivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    delivery_id: str  # "<event id>:<webhook id>"
    webhook_id: str
    event_id: str
    kind: str
    lane: str
    topic: str  # topic and partition of the change: deliveries of a lane are queued in one place
    partition: int
    at_ms: int  # of the change
    attempts: int
    reason: str
    died_at_ms: int
    body: Raw  # JSON, kept byte for byte
    trace: str = ""
    replay_requested_at_ms: int | None = field(default=None, name="replayed_at_ms")

    @property
    def id(self) -> str:
        """Id of this record: one delivery may die more than once."""
        return f"{self.delivery_id}@{self.died_at_ms}"
