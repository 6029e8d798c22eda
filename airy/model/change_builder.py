"""Builds the changes of a fact, with the bodies that webhooks, websocket and bots receive.

Pure: the result depends on the arguments only, so two folds of one log produce the same bytes.
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


class ChangeBuilder:
    """Collects the changes of one accepted fact, in the order they are added."""

    __slots__ = ("_at_ms", "_conversation", "_encoded_message", "_fact_id", "changes")

    def __init__(self, conversation: Conversation, fact_id: str, at_ms: int) -> None:
        self._conversation = conversation
        self._fact_id = fact_id
        self._at_ms = at_ms
        self._encoded_message: tuple[str, Raw] = ("", Raw(b"null"))  # id and JSON of the last message encoded
        self.changes: list[Change] = []

    def message(self, kind: ChangeKind, message: Message) -> None:
        self._add(
            kind,
            {
                "conversation_id": message.conversation_id,
                "channel_id": message.channel_id,
                "message": self._encode_message(message),
            },
            from_contact=message.from_contact,
        )

    def message_deleted(self, message: Message) -> None:
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
        encoded = self._encode_message(last_message) if last_message else None
        self._add(
            ChangeKind.CONVERSATION_UPDATED,
            render.render_conversation_event(self._conversation, encoded),
        )

    def metadata(self, subject: str, identifier: str, document: render.Document) -> None:
        self._add(
            ChangeKind.METADATA_UPDATED,
            {"subject": subject, "identifier": identifier, "metadata": document},
        )

    def _encode_message(self, message: Message) -> Raw:
        if self._encoded_message[0] != message.id:
            document = render.render_message(message, read_sequence=self._conversation.read_sequence)
            self._encoded_message = (message.id, Raw(_encode(document)))
        return self._encoded_message[1]

    def _add(self, kind: ChangeKind, payload: render.Document, *, from_contact: bool = False) -> None:
        conversation = self._conversation
        change_id = ids.change_id(conversation.id, self._fact_id, len(self.changes))
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


def entity_change(kind: ChangeKind, entity: Channel | Tag, *, at_ms: int, write_id: str | None, version: int) -> Change:
    """The change for an entity record. Its id depends on the record's content only, so it survives compaction of the
    log and a move to another backend.

    `at_ms`: the record's timestamp, used where the entity has none. `write_id`: id of the write, if the record
    carries one; it separates two writes of one millisecond. `version`: of the entity; the change's sequence.
    """
    change_id = ids.derive(entity.id, f":{write_id or entity.updated_at_ms or at_ms}:{kind}")
    if isinstance(entity, Channel):
        payload, source, channel_id = render.render_channel(entity), entity.source, entity.id
    else:
        payload, source, channel_id = render.render_tag(entity), "", ""
    return Change(
        id=change_id,
        kind=kind,
        lane=entity.id,
        sequence=version,
        at_ms=entity.updated_at_ms,
        body=body(change_id, kind, entity.updated_at_ms, version, payload),
        source=source,
        channel_id=channel_id,
    )
