"""Changes made: the bodies that webhooks, websocket and bots get, built once while folding.

Nothing here depends on anything but its arguments, so two folds of one log produce the same bytes.
"""

import msgspec
from msgspec import Raw

from airy.model import ids, render
from airy.model.change import Change, ChangeKind
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel, Tag

_encode = msgspec.json.Encoder().encode


def body(change_id: str, kind: ChangeKind, at_ms: int, sequence: int, payload: object) -> bytes:
    head = f'{{"id":"{change_id}","type":"{kind}","timestamp":{at_ms},"sequence":{sequence},"payload":'
    return b"%b%b}" % (head.encode(), _encode(payload))


class Announcement:
    """The changes of one accepted fact, in the order they are added."""

    __slots__ = ("_at_ms", "_conversation", "_rendered", "changes")

    def __init__(self, conversation: Conversation, at_ms: int) -> None:
        self._conversation = conversation
        self._at_ms = at_ms
        self._rendered: tuple[str, Raw] = ("", Raw(b"null"))  # the last message that was encoded
        self.changes: list[Change] = []

    def message(self, kind: ChangeKind, message: Message) -> None:
        self._add(
            kind,
            {
                "conversation_id": message.conversation_id,
                "channel_id": message.channel_id,
                "message": self._message(message),
            },
            from_contact=message.from_contact,
        )

    def deleted(self, message: Message) -> None:
        self._add(
            ChangeKind.MESSAGE_DELETED,
            {
                "conversation_id": message.conversation_id,
                "channel_id": message.channel_id,
                "message_id": message.id,
            },
            from_contact=message.from_contact,
        )

    def conversation(self, last_message: Message | None) -> None:
        rendered = self._message(last_message) if last_message else None
        self._add(
            ChangeKind.CONVERSATION_UPDATED,
            render.render_conversation_event(self._conversation, rendered),
        )

    def metadata(self, subject: str, identifier: str, document: render.Document) -> None:
        self._add(
            ChangeKind.METADATA_UPDATED,
            {"subject": subject, "identifier": identifier, "metadata": document},
        )

    def _message(self, message: Message) -> Raw:
        if self._rendered[0] != message.id:
            document = render.render_message(message, read_sequence=self._conversation.read_sequence)
            self._rendered = (message.id, Raw(_encode(document)))
        return self._rendered[1]

    def _add(self, kind: ChangeKind, payload: render.Document, *, from_contact: bool = False) -> None:
        conversation = self._conversation
        change_id = ids.change_id(conversation.id, conversation.sequence, len(self.changes))
        self.changes.append(
            Change(
                id=change_id,
                kind=kind,
                lane=conversation.id,
                sequence=conversation.sequence,
                at_ms=self._at_ms,
                body=body(change_id, kind, self._at_ms, conversation.sequence, payload),
                source=conversation.source,
                channel_id=conversation.channel_id,
                from_contact=from_contact,
            )
        )


def entity_change(kind: ChangeKind, entity: Channel | Tag, *, at_ms: int, write_id: str | None) -> Change:
    """Numbered by what the record says alone, so that the log can be compacted, or moved to another backend.

    `at_ms`: the record's time, for an entity that has none. `write_id`: of the write, if its record has one; two that
    happened in one millisecond differ by it.
    """
    sequence = entity.updated_at_ms or at_ms
    change_id = ids.derive(entity.id, f":{write_id or sequence}:{kind}")
    if isinstance(entity, Channel):
        payload, source, channel_id = render.render_channel(entity), entity.source, entity.id
    else:
        payload, source, channel_id = render.render_tag(entity), "", ""
    return Change(
        id=change_id,
        kind=kind,
        lane=entity.id,
        sequence=sequence,
        at_ms=entity.updated_at_ms,
        body=body(change_id, kind, entity.updated_at_ms, sequence, payload),
        source=source,
        channel_id=channel_id,
    )
