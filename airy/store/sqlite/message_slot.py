"""A message in memory while a batch is folded, with the values that the database holds of it."""

from msgspec import Raw

from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.raw import NULL
from airy.store.sqlite.id_encoding import StoredId

TO_SEND_STATES = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


class MessageSlot:
    """The slot of a message id: the message, if there is one, and its stored values."""

    __slots__ = (
        "canonical",
        "content",
        "deleted",
        "delivery",
        "dirty",
        "message",
        "n",
        "offsets",
        "provider_id",
        "stored_id",
        "to_send",
        "trace",
    )

    def __init__(self, stored_id: StoredId) -> None:
        self.stored_id = stored_id
        self.n = 0  # row number; 0: no row yet
        self.offsets = ""  # of records that changed the message and are not stored yet, each behind a comma
        self.message: Message | None = None
        self.dirty = False
        self.deleted = True
        self.content: Raw = NULL
        self.canonical: Raw = NULL
        self.delivery: DeliveryState | None = None
        self.provider_id: str | None = None
        self.to_send = False
        self.trace: str | None = None  # `traceparent` of the record that requested the send; None: keep the stored one

    def set_stored(self, message: Message) -> None:
        """Copy the stored values, because the fold changes the struct in place."""
        self.message = message
        self.deleted = message.deleted
        self.content = message.content
        self.canonical = message.canonical
        self.delivery = message.delivery
        self.provider_id = message.provider_id
        self.to_send = needs_sending(message)

    def has_other_text(self, message: Message) -> bool:
        """Whether what `message` says differs from what is stored."""
        return message.deleted != self.deleted or message.content != self.content or message.canonical != self.canonical


def needs_sending(message: Message) -> bool:
    """Whether the message has a row in `sends`."""
    return message.delivery in TO_SEND_STATES and not message.deleted
