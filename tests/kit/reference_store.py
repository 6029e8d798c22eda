"""The store as plain dictionaries: the second engine of the contract, and the oracle for the first.

Every query looks at everything, nothing is cached or derived ahead of time, and no SQL is involved. It is slow, kept in
memory, and meant to be read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Record, TopicPartition
from airy.bus.record_schema import RecordSchema
from airy.bus.topic import Topic
from airy.errors import Refused
from airy.model import contact as contacts
from airy.model import ids
from airy.model.change import Change, ChangeKind
from airy.model.change_builder import entity_change
from airy.model.contact import Contact
from airy.model.contact_view import ContactView, contact_view, has_own_contact
from airy.model.conversation import Conversation, Message
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_state import DeliveryState
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.fact import ConversationRead
from airy.model.fold import fold
from airy.model.fold_contacts import accepts, version_after
from airy.model.fold_entity import ABSENT, BASE_HEADER, EntityWrite, fold_entity, read_base
from airy.model.identity import IdentityKey
from airy.sources.catalogue import kind_name
from airy.store import cursors
from airy.store.api import (
    Applied,
    ChannelActivity,
    ConversationView,
    FoldedMessage,
    LastApplied,
    Page,
    StoredChange,
    Work,
    WorkKey,
    WorkKind,
)
from airy.store.filters import parse
from airy.store.holds import PartitionHolds
from airy.trace import HEADER
from tests.kit.fold import DictState
from tests.kit.loaded_state import LoadedState
from tests.kit.reference_filter import FilteredConversation, holds

T = TypeVar("T")

EVENTS = topics.EVENTS.name
CHANGE_KINDS = {topics.CHANNELS.name: ChangeKind.CHANNEL_UPDATED, topics.TAGS.name: ChangeKind.TAG_UPDATED}
TO_SEND = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
FETCH_STATE_KEY = "contact.fetch_state"
INT64_MAX = (1 << 63) - 1


class UnstorableValue(Exception):
    """A number that no engine has to store."""


def _time(entity: Any, otherwise_ms: int) -> int:
    """The entity's own time, if it has one."""
    at_ms: int = entity.updated_at_ms
    return at_ms or otherwise_ms


def _stored_id(topic: Topic[Any], entity_id: str) -> str:
    return entity_id if topic is topics.CUSTOM_SOURCES else entity_id.lower()


class ReferenceStore:
    checkpoints = None

    def __init__(self, *, schemas: Mapping[str, RecordSchema] = topics.SCHEMAS) -> None:
        self._schemas = schemas
        self._clear()

    def _clear(self) -> None:
        self._holds = PartitionHolds(self._schemas)
        self._positions: dict[TopicPartition, int] = {}
        self._last_applied: LastApplied | None = None
        self._pruned: dict[TopicPartition, int] = {}
        self._states: dict[str, DictState] = {}
        self._entities: dict[str, dict[str, Any]] = {topic.name: {} for topic in topics.FOLDED}
        self._versions: dict[tuple[str, str], int] = {}  # topic and id → the greatest version, also of a deleted entity
        self._writes: set[tuple[str, str, str]] = set()  # topic, id and write that was accepted on a version
        self._contacts: dict[str, Contact] = {}  # that were written, and not deleted
        self._contact_versions: dict[str, int] = {}
        self._covered: dict[str, int] = {}  # conversation → messages that a deletion of its contact covers
        self._changes: dict[TopicPartition, list[StoredChange]] = {}
        self._offsets: dict[tuple[str, str], list[int]] = {}  # conversation and message → of records that changed it
        self._traces: dict[tuple[str, str], str] = {}  # conversation and message → `traceparent` of its request

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    # --- folding

    @property
    def damaged(self) -> bool:
        return False

    async def recover(self) -> None:
        pass

    async def positions(self) -> dict[TopicPartition, int]:
        return dict(self._positions)

    async def last_applied(self) -> LastApplied | None:
        return self._last_applied

    async def wipe(self) -> None:
        self._clear()

    async def apply(self, records: Sequence[Record]) -> Applied:
        for record in records:
            if record.topic not in self._entities:
                message = f"{record.topic} is not a folded topic"
                raise ValueError(message)
        facts = made = 0
        self._touched: set[WorkKey] = set()
        self._read: list[str] = []
        unprocessable: list[tuple[Record, str]] = []
        for record in records:
            tp = record.topic_partition
            if record.offset < self._positions.get(tp, 0) or not self._holds.passes(record):
                continue
            self._positions[tp] = record.offset + 1
            if record.topic == EVENTS:
                self._last_applied = LastApplied(record.position, record.fingerprint)
            try:
                accepted, changes = self._folded(record)
            except (Refused, UnicodeDecodeError, OverflowError, UnstorableValue) as error:
                unprocessable.append((record, str(error) or type(error).__name__))
                continue
            facts += accepted
            made += len(changes)
            trace = _trace(record)
            self._changes.setdefault(tp, []).extend(
                StoredChange(record.position, nth, change, trace) for nth, change in enumerate(changes)
            )
        touched, read = frozenset(self._touched), tuple(self._read)
        return Applied(facts, made, unprocessable, self._holds.current(), touched, read)

    def _folded(self, record: Record) -> tuple[int, Sequence[Change]]:
        """Whether it is an accepted fact, and its changes."""
        if record.topic == EVENTS:
            return self._fact(record)
        if record.topic == topics.CONTACTS.name:
            self._write_contacts(record)
            return 0, ()
        return 0, self._entity(record)

    def _fact(self, record: Record) -> tuple[int, Sequence[Change]]:
        fact = topics.EVENTS.decode(record)
        if fact is None:
            raise Refused("a tombstone is not a fact")
        before = self._states.get(fact.conversation_id, DictState())
        state = before.copy()
        folded = fold(LoadedState(state, fact), fact)
        _check_storable(state)
        self._states[fact.conversation_id] = state
        for name in state.put_ids:
            self._offsets.setdefault((fact.conversation_id, name), []).append(record.offset)
        waiting, waits = _waiting(before), _waiting(state)
        for name in waits.keys() - waiting.keys():
            self._traces[fact.conversation_id, name] = _trace(record)
        changed = {name for name in waiting.keys() | waits.keys() if waiting.get(name) != waits.get(name)}
        self._touched |= {WorkKey("send", kind_name((waits.get(name) or waiting[name]).source)) for name in changed}
        if _wants_profile(before) != _wants_profile(state):
            self._touched.add(WorkKey("profile", kind_name(fact.source)))
        if folded.accepted and isinstance(fact, ConversationRead):
            self._read.append(fact.conversation_id)
        return int(folded.accepted), folded.changes

    def _entity(self, record: Record) -> Sequence[Change]:
        topic = next(topic for topic in topics.FOLDED if topic.name == record.topic)
        entity_id = record.key.decode()
        entity = topic.decode(record)
        base = read_base(record.header(BASE_HEADER))
        if entity is not None and entity.id != entity_id:
            raise Refused(f"the key {entity_id!r} differs from the id of the value")
        stored = self._entities[topic.name]
        if topic is topics.DEAD_DELIVERIES:
            stored[entity_id] = entity
            if entity is None:
                del stored[entity_id]
            return ()
        found, write_id = stored.get(entity_id), record.header("id")
        current = found.updated_at_ms if found else ABSENT
        if base is None and entity is not None and found == replace(entity, updated_at_ms=_time(entity, current)):
            if isinstance(entity, Channel):
                self._touched.add(WorkKey("profile", kind_name(entity.source)))
            return ()
        at_ms = record.timestamp_ms if entity is None else _time(entity, record.timestamp_ms)
        last = self._versions.get((topic.name, entity_id), ABSENT)
        version = fold_entity(EntityWrite(base, at_ms), current=current, last=last)
        if version is None:
            return ()
        if version > INT64_MAX:
            raise UnstorableValue
        if entity is not None or found is not None:
            self._versions[topic.name, entity_id] = version
        if base is not None and write_id is not None:
            self._writes.add((topic.name, entity_id, write_id))
        if entity is None:
            stored.pop(entity_id, None)
            return ()
        stored[entity_id] = replace(entity, updated_at_ms=version)
        if isinstance(entity, Channel):
            self._touched.add(WorkKey("profile", kind_name(entity.source)))
        kind = CHANGE_KINDS.get(record.topic)
        if kind is None:
            return ()
        return (entity_change(kind, entity, at_ms=record.timestamp_ms, write_id=write_id, version=version),)

    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool:
        return (topic.name, _stored_id(topic, entity_id), write_id) in self._writes

    async def digest(self, *, changes: bool = False) -> str:
        whole = sha256()
        for conversation_id in sorted(self._states):
            whole.update(conversation_id.encode() + self._states[conversation_id].snapshot())
        for name, entities in sorted(self._entities.items()):
            for entity_id, entity in sorted(entities.items()):
                without_offsets = replace(entity, since={}) if isinstance(entity, Webhook) else entity
                whole.update(msgspec.json.encode([name, entity_id, without_offsets]))
        whole.update(msgspec.json.encode([sorted(self._contacts.items()), sorted(self._contact_versions.items())]))
        whole.update(msgspec.json.encode(sorted(self._covered.items())))
        whole.update(msgspec.json.encode([sorted(self._versions.items()), sorted(self._writes)]))
        if changes:
            made = [stored.change for kept in self._changes.values() for stored in kept]
            for change in sorted(made, key=lambda change: change.id):
                whole.update(change.id.encode() + change.body)
        return whole.hexdigest()

    # --- changes

    async def changes(self, tp: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[StoredChange]:
        kept = self._changes.get(tp, [])
        return [stored for stored in kept if (stored.position.offset, stored.nth) > after][:changes_max]

    async def prune_changes(self, below: Mapping[TopicPartition, int]) -> int:
        pruned = 0
        for tp, offset in below.items():
            kept = [stored for stored in self._changes.get(tp, []) if stored.position.offset >= offset]
            pruned += len(self._changes.get(tp, [])) - len(kept)
            self._changes[tp] = kept
            floor = max(self._pruned.get(tp, 0), min(offset, self._positions.get(tp, 0)))
            if floor:
                self._pruned[tp] = floor
        return pruned

    async def pruned_below(self) -> dict[TopicPartition, int]:
        return dict(self._pruned)

    # --- pending work

    async def work(
        self,
        kind: WorkKind,
        source: str,
        *,
        partitions: Sequence[int],
        due_until_ms: int,
        work_max: int,
        per_channel_max: int | None = None,
        excluded_channels: Collection[str] = (),
        after: Work | None = None,
    ) -> list[Work]:
        if kind == "profile":
            profiles = (work for work in self._profiles() if work.source == source and work.partition in partitions)
            return [work for work in profiles if work.channel_id not in excluded_channels][:work_max]
        heads = [head for name in self._states if (head := self._head(name)) is not None]
        due = sorted(
            (
                work
                for work in heads
                if work.source == source and work.partition in partitions and work.due_ms <= due_until_ms
                if work.channel_id not in excluded_channels and (after is None or work.place > after.place)
            ),
            key=attrgetter("place"),
        )
        taken: dict[str, int] = {}
        found = []
        for work in due:
            taken[work.channel_id] = taken.get(work.channel_id, 0) + 1
            if per_channel_max is None or taken[work.channel_id] <= per_channel_max:
                found.append(work)
        return found[:work_max]

    def _head(self, conversation_id: str) -> Work | None:
        """The oldest message of a conversation that is to be sent."""
        waiting = [message for message in self._states[conversation_id].messages() if _needs_sending(message)]
        if not waiting:
            return None
        head = waiting[0]
        due_ms = 0 if head.delivery is DeliveryState.SENDING else head.retry_at_ms
        partition = topics.EVENTS.partition(conversation_id)
        trace = self._traces.get((conversation_id, head.id), "")
        state = head.delivery.value
        return Work(
            "send",
            kind_name(head.source),
            partition,
            conversation_id,
            head.id,
            due_ms,
            state,
            head.channel_id,
            trace,
            head.attempt_at_ms,
            head.sent_at_ms,
        )

    def _profiles(self) -> Iterable[Work]:
        for name, state in reversed(self._states.items()):
            conversation = state.conversation()
            if conversation is None or not _wants_profile(state):
                continue
            channel = self._entities[topics.CHANNELS.name].get(conversation.channel_id)
            if channel is not None and channel.connected:
                partition = topics.EVENTS.partition(name)
                yield Work(
                    "profile", kind_name(conversation.source), partition, name, None, 0, "", conversation.channel_id
                )

    # --- conversations and messages

    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        state = self._states.get(conversation_id.lower())
        return state is not None and state.seen_facts.get(fact_id, False)

    def _view(self, state: DictState | None) -> ConversationView | None:
        conversation = None if state is None else state.conversation()
        if state is None or conversation is None or not conversation.visible:
            return None
        channel = self._entities[topics.CHANNELS.name].get(conversation.channel_id)
        if channel is None:
            return None
        last_id = conversation.last_message_id
        return ConversationView(conversation, channel, None if last_id is None else state.message(last_id))

    def _listed(self) -> list[ConversationView]:
        views = [view for state in self._states.values() if (view := self._view(state)) is not None]
        return sorted(views, key=lambda view: _activity(view.conversation), reverse=True)

    async def conversations_of(self, keys: Collection[IdentityKey]) -> dict[IdentityKey, tuple[str, ...]]:
        stored = [each for state in self._states.values() if (each := state.conversation()) is not None]
        found: dict[IdentityKey, tuple[str, ...]] = {}
        for key in keys:
            derived = ids.conversation_id(key.channel_id, key.name)
            own = [each.id for each in stored if each.id == derived and each.visible]
            aliased = sorted(
                (each.aliases[key.name], each.id)
                for each in stored
                if each.channel_id == key.channel_id and key.name in each.aliases
            )
            named = dict.fromkeys([*own, *(name for _, name in aliased)])
            if named:
                found[key] = tuple(named)
        return found

    async def conversation(self, conversation_id: str) -> ConversationView | None:
        return self._view(self._states.get(conversation_id.lower()))

    async def conversations(
        self, *, filters: str | None, cursor: str | None, page_size: int | None
    ) -> Page[ConversationView]:
        size, start = cursors.page_size(page_size), cursors.decode(cursor)
        found = self._listed()
        if filters is not None:
            condition = parse(filters)
            found = [view for view in found if holds(condition, self._filtered(view))]
        if isinstance(start, int):
            before = str(max(0, start - size)) if start > 0 else None
            following = str(start + size) if start + size < len(found) else None
            return Page(found[start : start + size], before, following, len(found))
        keys = [(view.conversation.activity_at_ms, view.conversation.id) for view in found]
        first = 0 if start is None else sum(_rank(key) > _rank(start) for key in keys)
        previous = cursors.encode(keys[max(0, first - size)]) if first > 0 else None
        following = cursors.encode(keys[first + size]) if first + size < len(keys) else None
        return Page(found[first : first + size], previous, following, len(found))

    def _filtered(self, view: ConversationView) -> FilteredConversation:
        messages = self._states[view.conversation.id].messages()
        return FilteredConversation(view.conversation, view.channel, messages)

    async def message(self, message_id: str) -> Message | None:
        found = (state.message(message_id.lower()) for state in self._states.values())
        return next((message for message in found if message is not None), None)

    async def folded_messages(self, message_ids: Collection[str]) -> list[FoldedMessage]:
        return [
            FoldedMessage(message, tuple(self._offsets[name, message.id]))
            for message_id in message_ids
            for name, state in self._states.items()
            if (message := state.message(message_id.lower())) is not None
        ]

    async def named_by_provider(self, provider_id: str) -> list[str]:
        found = [message for state in self._states.values() for message in state.messages()]
        return [
            message.id
            for message in found
            if message.provider_id == provider_id and message.id != ids.message_id(message.channel_id, provider_id)
        ]

    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page[Message]:
        size, name = cursors.page_size(page_size), (cursor or "").strip().lower()
        state = self._states.get(conversation_id.lower())
        every = [] if state is None else state.messages()
        there = [one for one in reversed(every) if not one.deleted]
        start = next((message for message in every if message.id == name), None)
        if name and start is None and every:
            raise Refused(f"cursor {name[:64]!r} is not a message of this conversation", field="cursor")
        if len(there) <= size or start is None:
            return Page(there[:size], None, there[size].id if len(there) > size else None, len(there))
        first = sum(message.sequence > start.sequence for message in there)
        previous = there[first - size].id if first >= size else None
        following = there[first + size].id if first + size < len(there) else None
        return Page(there[first : first + size], previous, following, len(there))

    # --- entities

    def _all(self, topic: Topic[T]) -> list[T]:
        return [entity for _, entity in sorted(self._entities[topic.name].items(), key=lambda item: _id_rank(item[0]))]

    def _one(self, topic: Topic[T], entity_id: str) -> T | None:
        found: T | None = self._entities[topic.name].get(_stored_id(topic, entity_id))
        return found

    async def channel_activity(self, channel_ids: Collection[str]) -> dict[str, ChannelActivity]:
        times: dict[tuple[str, bool], int] = {}
        for message in (message for state in self._states.values() for message in state.messages()):
            key = message.channel_id, message.from_contact
            times[key] = max(message.sent_at_ms, times.get(key, 0))
        return {
            each: ChannelActivity(times.get((each, True)) or None, times.get((each, False)) or None)
            for each in channel_ids
        }

    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]:
        of_source = (one for one in self._all(topics.CHANNELS) if source in (None, one.source))
        return [channel for channel in of_source if channel.connected or not connected_only]

    async def channel(self, channel_id: str) -> Channel | None:
        return self._one(topics.CHANNELS, channel_id)

    async def tags(self) -> list[Tag]:
        return self._all(topics.TAGS)

    async def tag(self, tag_id: str) -> Tag | None:
        return self._one(topics.TAGS, tag_id)

    async def templates(self, source: str) -> list[Template]:
        return [template for template in self._all(topics.TEMPLATES) if template.source == source]

    async def template(self, template_id: str) -> Template | None:
        return self._one(topics.TEMPLATES, template_id)

    async def webhooks(self) -> list[Webhook]:
        return self._all(topics.WEBHOOKS)

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return self._one(topics.WEBHOOKS, webhook_id)

    async def api_tokens(self) -> list[ApiToken]:
        return self._all(topics.API_TOKENS)

    async def api_token(self, token_id: str) -> ApiToken | None:
        return self._one(topics.API_TOKENS, token_id)

    async def custom_sources(self) -> list[CustomSource]:
        return self._all(topics.CUSTOM_SOURCES)

    async def custom_source(self, source_id: str) -> CustomSource | None:
        return self._one(topics.CUSTOM_SOURCES, source_id)

    async def users(self, *, cursor: str | None, page_size: int | None) -> Page[User]:
        size, start, users = cursors.page_size(page_size), (cursor or "").strip().lower(), self._all(topics.USERS)
        first = sum(_id_rank(user.id) < _id_rank(start) for user in users)
        previous = users[max(0, first - size)].id if first else None
        following = users[first + size].id if first + size < len(users) else None
        return Page(users[first : first + size], previous, following, len(users))

    async def user(self, user_id: str) -> User | None:
        return self._one(topics.USERS, user_id)

    # --- contacts

    def version(self, contact_id: str) -> int:
        return self._contact_versions.get(contact_id, 0)

    def linked_by(self, conversation_id: str) -> str | None:
        return next((name for name, one in self._contacts.items() if conversation_id in one.conversations), None)

    def _write_contacts(self, record: Record) -> None:
        written = topics.CONTACTS.decode(record)
        if written is None or record.key != contacts.KEY.encode():
            raise Refused(f"not a write of contacts under the key {contacts.KEY!r}")
        if not accepts(written, self):
            return
        for write in written.writes:
            version = self._contact_versions[write.id] = version_after(written, write)
            if version > INT64_MAX:
                raise UnstorableValue
            self._contacts.pop(write.id, None)
            if write.contact is not None:
                self._contacts[write.id] = replace(write.contact, updated_at_ms=version)
        for name, messages in written.covered.items():
            self._covered[name] = max(messages, self._covered.get(name, 0))
        self._covered = {name: count for name, count in self._covered.items() if self.linked_by(name) is None}
        self._writes.add((topics.CONTACTS.name, contacts.KEY, written.id))

    def _with_messages(self, conversation_id: str) -> Conversation | None:
        state = self._states.get(conversation_id)
        found = None if state is None else state.conversation()
        return found if found is not None and found.visible else None

    def _contact_views(self) -> list[ContactView]:
        """All contacts, in the order of the list."""
        own = {
            ids.contact_id(name): conversation
            for name in self._states
            if (conversation := self._with_messages(name)) is not None
            and has_own_contact(conversation, self.linked_by(name), self._covered.get(name, 0))
        }
        views = [
            contact_view(name, self._contacts.get(name), self.version(name), own.get(name), self._with_messages)
            for name in {**self._contacts, **own}
        ]
        return sorted((view for view in views if view is not None), key=_contact_rank)

    async def contact(self, contact_id: str) -> ContactView | None:
        return next((view for view in self._contact_views() if view.contact.id == contact_id.lower()), None)

    async def contact_of(self, conversation_id: str) -> ContactView | None:
        name = conversation_id.lower()
        return next((view for view in self._contact_views() if name in view.contact.conversations), None)

    async def contact_version(self, contact_id: str) -> int:
        return self.version(contact_id.lower())

    async def contacts(self, *, cursor: str | None, page_size: int | None) -> Page[ContactView]:
        size, start = cursors.page_size(page_size), cursors.decode_contact(cursor)
        views = self._contact_views()
        keys = [cursors.contact_key(view) for view in views]
        first = 0 if start is None else sum(_rank_of(key) < _rank_of(start) for key in keys)
        previous = cursors.encode_contact(keys[max(0, first - size)]) if first > 0 else None
        following = cursors.encode_contact(keys[first + size]) if first + size < len(keys) else None
        return Page(views[first : first + size], previous, following, len(views))

    # --- dead deliveries

    def _records(self) -> list[DeadDelivery]:
        """Oldest first."""
        return sorted(self._entities[topics.DEAD_DELIVERIES.name].values(), key=_age)

    def _newest(self) -> list[DeadDelivery]:
        """The newest record of each delivery, oldest first."""
        return sorted({one.delivery_id: one for one in self._records()}.values(), key=_age)

    async def dead_deliveries(
        self, *, webhook_id: str | None = None, cursor: str | None, page_size: int | None
    ) -> Page[DeadDelivery]:
        size, start = cursors.page_size(page_size), cursors.decode(cursor)
        if isinstance(start, int):
            raise Refused(f"not a cursor: {start}", field="cursor")
        dead = [one for one in reversed(self._newest()) if one.replay_requested_at_ms is None]
        dead = [one for one in dead if webhook_id is None or one.webhook_id.lower() == webhook_id.lower()]
        first = 0 if start is None else sum(_age(one) > start for one in dead)
        previous = cursors.encode(_age(dead[max(0, first - size)])) if first > 0 else None
        following = cursors.encode(_age(dead[first + size])) if first + size < len(dead) else None
        return Page(dead[first : first + size], previous, following, len(dead))

    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]:
        return [one for one in reversed(self._records()) if one.delivery_id == delivery_id]

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        requested = [(one.replay_requested_at_ms, one.id, one) for one in self._newest()]
        pending = sorted((at_ms, name, one) for at_ms, name, one in requested if at_ms is not None)
        return [one for at_ms, name, one in pending if (at_ms, name) > after][:replays_max]

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        records = self._records()
        beyond = len(records) - keep_max
        expired = [one.id for nth, one in enumerate(records) if nth < beyond or one.died_at_ms < before_ms]
        return expired[:deliveries_max]

    async def counts(self) -> dict[str, int]:
        messages = [message for state in self._states.values() for message in state.messages()]
        return {
            "conversations": len(self._listed()),
            "messages": sum(not message.deleted for message in messages),
            "contacts": len(self._contact_views()),
            "channels": len(self._entities[topics.CHANNELS.name]),
            "changes": sum(map(len, self._changes.values())),
            "send_pending": sum(map(_needs_sending, messages)),
            "send_unknown": sum(m.delivery is DeliveryState.UNKNOWN and not m.from_contact for m in messages),
            "dead_deliveries": sum(one.replay_requested_at_ms is None for one in self._newest()),
        }


def _needs_sending(message: Message) -> bool:
    return message.delivery in TO_SEND and not message.deleted


def _waiting(state: DictState) -> dict[str, Message]:
    return {message.id: message for message in state.messages() if _needs_sending(message)}


def _wants_profile(state: DictState) -> bool:
    conversation = state.conversation()
    if conversation is None or conversation.participant_id is None or FETCH_STATE_KEY in conversation.metadata:
        return False
    return any(message.from_contact for message in state.messages())


def _check_storable(state: DictState) -> None:
    for message in state.messages():
        if max(message.sent_at_ms, message.dispatched_at_ms, message.retry_at_ms) > INT64_MAX:
            raise UnstorableValue("a time exceeds 64 bits")


def _trace(record: Record) -> str:
    return record.header(HEADER) or ""


def _id_rank(text: str) -> tuple[bool, str]:
    """Ids that are no UUIDs come first."""
    return len(text) == 36 and text.count("-") == 4, text


def _rank(key: tuple[int, str]) -> tuple[int, tuple[bool, str]]:
    return key[0], _id_rank(key[1])


def _activity(conversation: Conversation) -> tuple[int, tuple[bool, str]]:
    return _rank((conversation.activity_at_ms, conversation.id))


def _contact_rank(view: ContactView) -> tuple[int, str, tuple[bool, str]]:
    return _rank_of(cursors.contact_key(view))


def _rank_of(key: cursors.ContactKey) -> tuple[int, str, tuple[bool, str]]:
    return key[0], key[1], _id_rank(key[2])


def _age(one: DeadDelivery) -> tuple[int, str]:
    return one.died_at_ms, one.id
