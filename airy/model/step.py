"""One fact being folded: what it found, what it changed so far, and how that is written back and announced.

Rules look up through it, `touch` a message before they change it, and say what they created or deleted.
Whether clients hear of a touched message is not for rules to say: its face before and after is compared.
"""

from airy.model.announce import Announcement
from airy.model.change import Change, ChangeKind
from airy.model.conversation import Conversation, Message
from airy.model.delivery import FINE, WIRE
from airy.model.fact import Fact
from airy.model.render import conversation_metadata, latest_reaction, message_metadata
from airy.model.state import FoldState

Face = tuple[object, ...]


class Step:
    __slots__ = (
        "_annotated",
        "_at_ms",
        "_deleted",
        "_touched",
        "conversation",
        "conversation_changed",
        "created",
        "metadata_changed",
        "sequence",
        "state",
    )

    def __init__(self, state: FoldState, conversation: Conversation, at_ms: int) -> None:
        self.state = state
        self.conversation = conversation
        self.sequence = conversation.sequence + 1  # what the fact gets if it is accepted
        self.conversation_changed = False  # something a client sees besides its metadata
        self.metadata_changed = False  # something in its metadata document
        self.created: Message | None = None  # the message the fact brings, set before anything joins it
        self._at_ms = at_ms
        self._touched: dict[str, tuple[Message, Face]] = {}
        self._deleted: list[Message] = []
        self._annotated: Message | None = None

    # --- what rules report

    def touch(self, message: Message) -> None:
        """Call before changing a message that was there."""
        if message.id not in self._touched and message is not self.created:
            self._touched[message.id] = (message, face(message))

    def annotate(self, message: Message) -> None:
        """Like `touch`, where clients that only watch metadata are told too."""
        self.touch(message)
        self._annotated = message

    def admit(self) -> None:
        """Count `created` in. A message that is born deleted is kept, and nobody hears of it."""
        message, conversation = self.created, self.conversation
        assert message is not None
        if conversation.message_count == 0 or message.sent_at_ms < conversation.created_at_ms:
            conversation.created_at_ms = message.sent_at_ms
            self.conversation_changed = True
        conversation.message_count += 1
        if message.deleted:
            return
        if message.from_contact:
            conversation.unread_count += 1
            self.metadata_changed = True
        if conversation.last_message_id is None or message.sent_at_ms >= conversation.last_message_at_ms:
            self._lead(message)

    def delete(self, message: Message) -> None:
        """The message was touched, marked and emptied; here its conversation loses it."""
        self._deleted.append(message)
        conversation = self.conversation
        if message.from_contact and message.sequence > conversation.read_sequence:
            conversation.unread_count -= 1
            self.metadata_changed = True
        if conversation.last_message_id == message.id:
            self._lead(self.state.latest_message(excluding=message.id))

    def _lead(self, message: Message | None) -> None:
        self.conversation.last_message_id = message.id if message else None
        self.conversation.last_message_at_ms = message.sent_at_ms if message else 0
        self.conversation_changed = True

    # --- what follows

    def finish(self) -> tuple[Change, ...]:
        """Number the fact, write everything back, and say what changed."""
        conversation = self.conversation
        conversation.sequence = self.sequence
        conversation.updated_at_ms = max(conversation.updated_at_ms, self._at_ms)
        for message, _ in self._touched.values():
            message.updated_at_ms = max(message.updated_at_ms, self._at_ms)
            self.state.put_message(message)
        if self.created is not None:
            self.state.put_message(self.created)
        self.state.put_conversation(conversation)
        return tuple(self._announce()) if conversation.visible else ()

    def _announce(self) -> list[Change]:
        told = Announcement(self.conversation, self._at_ms)
        if self.created is not None and not self.created.deleted:
            told.message(ChangeKind.MESSAGE_CREATED, self.created)
        updated = [message for message, before in self._touched.values() if face(message) != before]
        for message in updated:
            if not message.deleted:
                told.message(ChangeKind.MESSAGE_UPDATED, message)
        for message in self._deleted:
            told.deleted(message)
        if self._annotated is not None:
            told.metadata("message", self._annotated.id, message_metadata(self._annotated))
        last_id = self.conversation.last_message_id
        if self.conversation_changed or self.metadata_changed or any(one.id == last_id for one in updated):
            told.conversation(self._last_message())
        if self.metadata_changed:
            told.metadata("conversation", self.conversation.id, conversation_metadata(self.conversation))
        return told.changes

    def _last_message(self) -> Message | None:
        last_id = self.conversation.last_message_id
        if last_id is None:
            return None
        if self.created is not None and self.created.id == last_id:
            return self.created
        return self._touched[last_id][0] if last_id in self._touched else self.state.message(last_id)


def face(message: Message) -> Face:
    """Everything of a message that clients see and that may change."""
    return (
        WIRE[message.delivery],
        FINE[message.delivery],
        message.provider_id,
        message.content,
        message.deleted,
        dict(message.metadata),
        latest_reaction(message),
    )


def fresh(fact: Fact) -> Conversation:
    """A conversation nobody has heard of."""
    return Conversation(
        id=fact.conversation_id,
        channel_id=fact.channel_id,
        source=fact.source,
        created_at_ms=fact.at_ms,
        updated_at_ms=fact.at_ms,
    )
