"""The context of one fact being folded: what was looked up and changed so far, and the changes that follow from it.

Rules look up through it, call `before_change` for a message they are about to change, and report what they created or
deleted. Whether a changed message is announced is not up to the rule: its visible fields before and after are
compared.
"""

from airy.model.change import Change, ChangeKind
from airy.model.change_builder import ChangeBuilder
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import API_STATE, DETAILED_STATE
from airy.model.fact import Fact, MessageEchoed, MessageReceived
from airy.model.fold_state import FoldState
from airy.model.render import conversation_metadata, latest_reaction, message_metadata

VisibleFields = tuple[object, ...]


class FoldContext:
    __slots__ = (
        "_arrived_at_ms",
        "_at_ms",
        "_before",
        "_deleted",
        "_fact_id",
        "_metadata_message",
        "conversation",
        "conversation_changed",
        "created",
        "metadata_changed",
        "sequence",
        "state",
    )

    def __init__(self, state: FoldState, conversation: Conversation, fact: Fact) -> None:
        self.state = state
        self.conversation = conversation
        self.sequence = conversation.sequence + 1  # the fact's number, if it is accepted
        self.conversation_changed = False  # something a client sees besides its metadata
        self.metadata_changed = False  # something in its metadata document
        self.created: Message | None = (
            None  # the message the fact creates; set before pending reports are applied to it
        )
        self._fact_id = fact.id
        self._at_ms = fact.at_ms
        arrived_at_ms = fact.arrived_at_ms if isinstance(fact, MessageReceived | MessageEchoed) else None
        self._arrived_at_ms = fact.at_ms if arrived_at_ms is None else arrived_at_ms
        self._before: dict[str, tuple[Message, VisibleFields]] = {}  # changed messages, as clients saw them before
        self._deleted: list[Message] = []
        self._metadata_message: Message | None = None  # a message whose metadata a client changed

    # --- called by rules

    def before_change(self, message: Message) -> None:
        """Must be called before a message that existed is changed."""
        if not message.announced:
            self.created = message  # what changes it announces it
        elif message.id not in self._before and message is not self.created:
            self._before[message.id] = (message, visible_fields(message))

    def before_metadata_change(self, message: Message) -> None:
        """Like `before_change`, and adds a `metadata.updated` change."""
        self.before_change(message)
        self._metadata_message = message

    def count_in(self) -> None:
        """Add `created` to the conversation. A message created as deleted is stored and not announced."""
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
        conversation.activity_at_ms = max(conversation.activity_at_ms, self._arrived_at_ms)
        self._set_last(message)

    def count_out(self, message: Message) -> None:
        """Take a message that the rule erased out of the conversation's counts."""
        self._deleted.append(message)
        conversation = self.conversation
        if message.from_contact and message.sequence > conversation.read_sequence:
            conversation.unread_count -= 1
            self.metadata_changed = True
        if conversation.last_message_id == message.id:
            self._set_last(self.state.latest_message(excluding=message.id))

    def _set_last(self, message: Message | None) -> None:
        self.conversation.last_message_id = message.id if message else None
        self.conversation.last_message_at_ms = message.sent_at_ms if message else 0
        self.conversation_changed = True

    # --- called by the fold

    def finish(self) -> tuple[Change, ...]:
        """Number the fact, write everything back, and return the changes."""
        conversation = self.conversation
        conversation.sequence = self.sequence
        conversation.updated_at_ms = max(conversation.updated_at_ms, self._at_ms)
        for message, _ in self._before.values():
            message.updated_at_ms = max(message.updated_at_ms, self._at_ms)
            self.state.put_message(message)
        if self.created is not None:
            self.state.put_message(self.created)
        self.state.put_conversation(conversation)
        return tuple(self._changes())

    def _changes(self) -> list[Change]:
        builder = ChangeBuilder(self.conversation, self._fact_id, self._at_ms)
        if self.created is not None and self.created.announced and not self.created.deleted:
            builder.message(ChangeKind.MESSAGE_CREATED, self.created)
        if not self.conversation.visible:
            return builder.changes
        updated = [message for message, before in self._before.values() if visible_fields(message) != before]
        for message in updated:
            if not message.deleted:
                builder.message(ChangeKind.MESSAGE_UPDATED, message)
        for message in self._deleted:
            builder.message_deleted(message)
        if self._metadata_message is not None:
            builder.metadata("message", self._metadata_message.id, message_metadata(self._metadata_message))
        last_id = self.conversation.last_message_id
        if self.conversation_changed or self.metadata_changed or any(message.id == last_id for message in updated):
            builder.conversation(self._last_message())
        if self.metadata_changed:
            builder.metadata("conversation", self.conversation.id, conversation_metadata(self.conversation))
        return builder.changes

    def _last_message(self) -> Message | None:
        last_id = self.conversation.last_message_id
        if last_id is None:
            return None
        if self.created is not None and self.created.id == last_id:
            return self.created
        return self._before[last_id][0] if last_id in self._before else self.state.message(last_id)


def visible_fields(message: Message) -> VisibleFields:
    """Everything of a message that clients see and that may change."""
    return (
        API_STATE[message.delivery],
        DETAILED_STATE[message.delivery],
        message.provider_id,
        message.content,
        message.deleted,
        dict(message.metadata),
        latest_reaction(message),
    )


def new_conversation(fact: Fact) -> Conversation:
    """The conversation of its first fact."""
    return Conversation(
        id=fact.conversation_id,
        channel_id=fact.channel_id,
        source=fact.source,
        created_at_ms=fact.at_ms,
        updated_at_ms=fact.at_ms,
    )
