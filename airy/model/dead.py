"""A delivery that was given up: everything to show it by, and to make it again with the same id and the same bytes.

Each burial is a record of its own, so none is ever changed by another: what is known of a delivery is its newest one.
It stays until the delivery is made after all, or is too old. A wish to make it again is written into it, and so
survives the queue that carries it out.
"""

from msgspec import Raw, Struct


class DeadDelivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    delivery_id: str  # "<event id>:<webhook id>"
    webhook_id: str
    event_id: str
    kind: str
    lane: str
    topic: str  # that the change came from, and in which partition: deliveries of a lane wait in one place
    partition: int
    at_ms: int  # of the change
    attempts: int
    reason: str
    died_at_ms: int
    body: Raw  # JSON, kept byte for byte
    trace: str = ""
    replayed_at_ms: int | None = None  # since when it is to be made again

    @property
    def id(self) -> str:
        """Of this burial."""
        return f"{self.delivery_id}@{self.died_at_ms}"
