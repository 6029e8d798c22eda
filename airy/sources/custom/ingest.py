"""A batch of a custom source becomes facts. Pure.

Ids are functions of the source's ids, as in the original, so a batch that is posted again yields facts that the fold
has seen. Everything is checked before the first fact is appended: a batch is taken whole, or refused with the field.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypedDict

import msgspec
from msgspec import Raw, Struct

from airy.errors import Refused
from airy.model import ids, metadata
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import (
    Fact,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    MetadataChanged,
    ProfileResolved,
    ReactionChanged,
    ReceiptReported,
)
from airy.model.fold_conversation import AVATAR, DERIVED, DERIVED_OF_MESSAGES, NAME
from airy.model.raw import same_json
from airy.sources import canonical
from airy.sources.custom import content as contents
from airy.sources.custom.batch import (
    Batch,
    IngestedMessage,
    IngestedMetadata,
    IngestedReceipt,
    ProviderMessageReference,
)
from airy.sources.custom.encode import CONVERSATION

AHEAD_MAX_MS = 10 * 60_000  # the difference of two clocks
ERROR = "the source reports that it could not deliver the message"
RESERVED = {"conversation": DERIVED | {"source"}, "message": DERIVED_OF_MESSAGES}


class Known(Struct, frozen=True, kw_only=True):
    """What the store holds of what a batch names."""

    source_id: str
    channels: Mapping[str, Channel]  # connected, by source_channel_id
    conversations: Mapping[str, Conversation]  # by source_conversation_id
    messages: Mapping[str, Message]  # by source_message_id, and by id


class _About(TypedDict):
    conversation_id: str
    channel_id: str
    source: str
    at_ms: int
    cause: str


def facts_of(batch: Batch, known: Known, *, now_ms: int, cause: str) -> list[Fact]:
    """Raises `Refused`, naming the field."""
    return _Ingestion(batch, known, now_ms, cause).facts()


class _Ingestion:
    def __init__(self, batch: Batch, known: Known, now_ms: int, cause: str) -> None:
        self._batch = batch
        self._known = known
        self._now_ms = now_ms
        self._cause = cause
        self._channels: dict[str, Channel] = {}  # by source_conversation_id: of those that the batch begins
        self._contacts: dict[str, str] = {}  # likewise, source_sender_id
        self._brought: dict[str, IngestedMessage] = {}  # by source_message_id

    def facts(self) -> list[Fact]:
        made: list[Fact] = []
        for number, message in enumerate(self._batch.messages):
            self._begin(message, f"messages[{number}]")
        for number, message in enumerate(self._batch.messages):
            made += self._message(message, f"messages[{number}]")
        for number, entry in enumerate(self._batch.metadata):
            made += self._metadata(entry, f"metadata[{number}]")
        for number, receipt in enumerate(self._batch.receipts):
            made.append(self._receipt(receipt, f"receipts[{number}]"))
        for number, reaction in enumerate(self._batch.reactions):
            about = self._about(reaction, f"reactions[{number}]", self._time(reaction.at_ms, f"reactions[{number}]"))
            name = f":reaction:{reaction.source_message_id}:{reaction.source_sender_id}"
            made.append(
                ReactionChanged(
                    id=ids.derive(about["conversation_id"], f"{name}:{reaction.emoji}:{reaction.at_ms}"),
                    provider_id=reaction.source_message_id,
                    actor=reaction.source_sender_id,
                    emoji=reaction.emoji,
                    **about,
                )
            )
        for number, deletion in enumerate(self._batch.deletions):
            about = self._about(deletion, f"deletions[{number}]", self._now_ms)
            fact_id = ids.derive(about["conversation_id"], f":deleted:{deletion.source_message_id}")
            made.append(MessageDeleted(id=fact_id, provider_id=deletion.source_message_id, **about))
        return made

    # --- messages

    def _begin(self, message: IngestedMessage, field: str) -> None:
        """Check where a message belongs."""
        channel = self._known.channels.get(message.source_channel_id)
        if channel is None:
            raise Refused(
                "the source has no connected channel of this id: create it with sources.channels.create",
                field=f"{field}.source_channel_id",
            )
        name = message.source_conversation_id
        conversation = self._known.conversations.get(name)
        if conversation is not None and conversation.source != self._known.source_id:
            raise Refused("is the id of a conversation of another source", field=f"{field}.source_conversation_id")
        begun = self._channels.setdefault(name, channel)
        if (begun.id if conversation is None else conversation.channel_id) != channel.id:
            raise Refused("the conversation is of another channel", field=f"{field}.source_channel_id")
        if message.from_contact:
            self._contacts.setdefault(name, message.source_sender_id)
        earlier = self._brought.setdefault(message.source_message_id, message)
        if earlier != message:
            raise Refused("is given twice, for different messages", field=f"{field}.source_message_id")

    def _message(self, message: IngestedMessage, field: str) -> Sequence[Fact]:
        if self._brought[message.source_message_id] is not message:
            return ()  # a repetition within the batch
        name = message.source_conversation_id
        about = self._in_conversation(name, self._channels[name], self._time(message.sent_at_ms, f"{field}.sent_at"))
        message_id = self._message_id(message.source_message_id)
        content = msgspec.json.decode(message.content)
        contents.check(content, f"{field}.content")
        in_common_terms = canonical.encode(contents.canonical_of(content))
        known = self._known.messages.get(message.source_message_id)
        if known is not None:
            return self._again(message, known, in_common_terms, about, field)
        participant = self._participant(name)
        made: list[Fact] = []
        if message.from_contact:
            made.append(
                MessageReceived(
                    id=message_id,
                    message_id=message_id,
                    participant_id=participant,
                    sender_id=None if message.source_sender_id == participant else message.source_sender_id,
                    provider_id=message.source_message_id,
                    content=message.content,
                    canonical=in_common_terms,
                    arrived_at_ms=self._now_ms,
                    **about,
                )
            )
        else:
            made.append(
                MessageEchoed(
                    id=ids.derive(message_id, ":echoed"),
                    message_id=message_id,
                    participant_id=participant,
                    sender_id=message.source_sender_id,
                    provider_id=message.source_message_id,
                    content=message.content,
                    canonical=in_common_terms,
                    arrived_at_ms=self._now_ms,
                    **about,
                )
            )
        if name not in self._known.conversations and participant != name:
            made.append(self._named(name, about))
        return made

    def _again(
        self, message: IngestedMessage, known: Message, in_common_terms: Raw, about: _About, field: str
    ) -> Sequence[Fact]:
        """A message that is stored: unchanged, or with another content, as the original replaced it."""
        if known.conversation_id != about["conversation_id"] or known.from_contact != message.from_contact:
            raise Refused("is the id of another message", field=f"{field}.source_message_id")
        if known.deleted or same_json(known.content, message.content):
            return ()
        fact_id = ids.derive(known.id, f":edited:{self._cause}")
        return [
            MessageEdited(
                id=fact_id,
                provider_id=message.source_message_id,
                content=message.content,
                canonical=in_common_terms,
                revision=0,
                **about,
            )
        ]

    def _participant(self, name: str) -> str:
        """The contact of a conversation, until one writes: what the conversation is called."""
        known = self._known.conversations.get(name)
        return (known.participant_id if known else None) or self._contacts.get(name, name)

    def _named(self, name: str, about: _About) -> MetadataChanged:
        """What the conversation is called at the source, for the action endpoint."""
        conversation_id = about["conversation_id"]
        return MetadataChanged(
            id=ids.derive(conversation_id, ":source_conversation_id"),
            subject="conversation",
            subject_id=conversation_id,
            set={CONVERSATION: metadata.value(name)},
            **about,
        )

    # --- metadata

    def _metadata(self, entry: IngestedMetadata, field: str) -> Sequence[Fact]:
        try:
            settings = metadata.flatten(entry.metadata)
        except Refused as error:
            raise Refused(str(error), field=f"{field}.metadata") from error
        for key in settings:
            if key.partition(".")[0] in RESERVED[entry.namespace]:
                raise Refused("is set by Airy", field=f"{field}.metadata.{key}")
        if entry.namespace == "message":
            return self._message_metadata(entry, settings, field)
        about = self._of_conversation(entry.source_id, f"{field}.source_id", self._now_ms)
        known = self._known.conversations.get(entry.source_id)
        profile = {key: settings.pop(key) for key in (NAME, AVATAR) if key in settings}
        stored, sequence = (known.metadata, known.sequence) if known else ({}, 0)
        made: list[Fact] = []
        if profile and (known is None or _changes_profile(known, profile)):
            texts = {key: metadata.text(profile, key) for key in profile}
            if None in texts.values():
                raise Refused("must be text", field=f"{field}.metadata.contact")
            made.append(
                ProfileResolved(
                    id=_settings_id(about["conversation_id"], sequence, profile),
                    found=True,
                    display_name=texts.get(NAME),
                    avatar_url=texts.get(AVATAR),
                    **about,
                )
            )
        return [
            *made,
            *self._changed("conversation", about["conversation_id"], stored, settings, sequence, about, field),
        ]

    def _message_metadata(self, entry: IngestedMetadata, settings: metadata.Flat, field: str) -> Sequence[Fact]:
        known, brought = self._known.messages.get(entry.source_id), self._brought.get(entry.source_id)
        if known is not None:
            about = self._about_fields(known.conversation_id, known.channel_id, self._now_ms)
            return self._changed("message", known.id, known.metadata, settings, known.updated_at_ms, about, field)
        if brought is None:
            raise Refused("the source brought in no message of this id", field=f"{field}.source_id")
        about = self._of_conversation(brought.source_conversation_id, field, self._now_ms)
        return self._changed("message", self._message_id(entry.source_id), {}, settings, 0, about, field)

    def _changed(
        self,
        subject: str,
        subject_id: str,
        stored: metadata.Flat,
        settings: metadata.Flat,
        version: int,
        about: _About,
        field: str,
    ) -> Sequence[Fact]:
        after = metadata.changed(stored, settings, ())
        if after is None:
            return ()
        if len(after) > metadata.KEYS_MAX:
            raise Refused(f"a {subject} has at most {metadata.KEYS_MAX} metadata keys", field=f"{field}.metadata")
        return [
            MetadataChanged(
                id=_settings_id(subject_id, version, settings),
                subject="message" if subject == "message" else "conversation",
                subject_id=subject_id,
                set=settings,
                **about,
            )
        ]

    # --- reports about messages

    def _receipt(self, receipt: IngestedReceipt, field: str) -> Fact:
        at_ms = self._now_ms if receipt.at_ms is None else self._time(receipt.at_ms, f"{field}.sent_at")
        conversation = receipt.source_conversation_id
        about = self._of_conversation(conversation, f"{field}.source_conversation_id", at_ms)
        ours = self._known.messages.get(receipt.message_id or "")
        if receipt.message_id is not None and (ours is None or ours.conversation_id != about["conversation_id"]):
            raise Refused("is no message of this conversation", field=f"{field}.message_id")
        named = receipt.source_message_id or (ours.provider_id if ours else None) or receipt.message_id
        if named is None:
            raise Refused("name source_message_id or message_id", field=f"{field}.source_message_id")
        failed = receipt.state is DeliveryState.FAILED
        attempt = ours.attempt if ours else 0
        when = f"{attempt}:{'' if receipt.at_ms is None else receipt.at_ms}"
        return ReceiptReported(
            id=ids.derive(about["conversation_id"], f":receipt:{named}:{receipt.state}:{when}"),
            state=receipt.state,
            provider_ids=(named,),
            error=(receipt.error or ERROR) if failed else "",
            our_message_id=receipt.message_id,
            our_attempt=attempt,
            **about,
        )

    # --- what facts have in common

    def _about(self, reference: ProviderMessageReference, field: str, at_ms: int) -> _About:
        return self._of_conversation(reference.source_conversation_id, f"{field}.source_conversation_id", at_ms)

    def _of_conversation(self, name: str, field: str, at_ms: int) -> _About:
        known = self._known.conversations.get(name)
        if known is not None and known.source == self._known.source_id:
            return self._about_fields(known.id, known.channel_id, at_ms)
        if name not in self._channels:
            raise Refused("the source has no conversation of this id", field=field)
        return self._in_conversation(name, self._channels[name], at_ms)

    def _in_conversation(self, name: str, channel: Channel, at_ms: int) -> _About:
        return self._about_fields(ids.derive(self._known.source_id, name), channel.id, at_ms)

    def _about_fields(self, conversation_id: str, channel_id: str, at_ms: int) -> _About:
        return _About(
            conversation_id=conversation_id,
            channel_id=channel_id,
            source=self._known.source_id,
            at_ms=at_ms,
            cause=self._cause,
        )

    def _message_id(self, source_message_id: str) -> str:
        return ids.derive(self._known.source_id, source_message_id)

    def _time(self, at_ms: int, field: str) -> int:
        if at_ms > self._now_ms + AHEAD_MAX_MS:
            raise Refused("is in the future", field=field if field.endswith("sent_at") else f"{field}.sent_at")
        return at_ms


def _changes_profile(known: Conversation, profile: metadata.Flat) -> bool:
    """Whether a value differs that a client has not set."""
    return any(
        known.metadata.get(key) != given and (key in known.profile_keys or key not in known.metadata)
        for key, given in profile.items()
    )


def _settings_id(subject_id: str, version: int, settings: metadata.Flat) -> str:
    """The same for repetitions made on one version of the subject, and another one for going back to older values."""
    given = sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()
    return ids.derive(subject_id, f":metadata:{version}:{given}")
