"""A webhook at `/whatsapp` becomes facts. Pure: the same bytes and look-ups always make the same facts.

By the field of a change: messages and statuses; what the business writes in its phone's app (`smb_message_echoes`);
its address book and history. Anything else is kept as an event, of its contact where it names one. A change of the
whole business account belongs to no number: it is noted.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from msgspec import Raw

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model.fact import Fact, MessageEchoed
from airy.model.identity import IdentityKey
from airy.sources import payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of
from airy.sources.payload import Payload
from airy.sources.provider_time import event_time
from airy.sources.whatsapp import envelope, inbound, participant, status
from airy.sources.whatsapp.element import ChangeContext, MessageObject
from airy.sources.whatsapp.envelope import WebhookChange

KIND = "whatsapp"
APP = "whatsapp:app"  # the sender of what the business writes in its phone's app
NOTED_CHARACTERS_MAX = 200
NONE = Raw(b"[]")


def identities(record: Record, channels: Channels) -> Collection[IdentityKey]:
    try:
        changes = envelope.opened(record).changes
    except Undecodable:
        return ()
    found: dict[IdentityKey, None] = {}
    for change in changes:
        channel = channels.by_account(KIND, change.phone_number_id or "")
        if channel is not None:
            for node in envelope.records([change.raw]):
                found |= dict.fromkeys(IdentityKey(channel.id, name) for name in participant.all_names(node))
    return found


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable` for a body that is no envelope."""
    opened = envelope.opened(record)
    routed = Routed([], [], opened.unreadable, opened.noted)
    unknown: dict[AccountKey, None] = {}
    for change in opened.changes:
        if change.phone_number_id is None:
            routed.noted.append(f"{change.place}: {_account_event(change)}"[:NOTED_CHARACTERS_MAX])
            continue
        channel = channels.by_account(KIND, change.phone_number_id)
        if channel is None:
            unknown[AccountKey(KIND, change.phone_number_id)] = None
            continue
        contacts = _records(change, "contacts")
        one = len(contacts) != 1 or len({inbound.author(each) for each in _records(change, "messages")}) <= 1
        context = ChangeContext(channel, channels, contacts, record.timestamp_ms, cause_of(record), one_author=one)
        _read(change, context, opened.content, routed)
    routed.unknown.extend(unknown)
    return routed


def _records(change: WebhookChange, name: str) -> Sequence[Mapping[str, object]]:
    """The readable ones of a list of the value; none if it is no list."""
    try:
        return tuple(envelope.records(change.items(name)))
    except Undecodable:
        return ()


def _account_event(change: WebhookChange) -> str:
    """The field, and what it says in words."""
    words = []
    for node in envelope.records([change.raw]):
        words = [
            text for name in ("event", "message_template_name", "reason") if (text := payload.text(node.get(name)))
        ]
    return " ".join([f"{change.field} of the business account", *words])


def _read(change: WebhookChange, context: ChangeContext, received: Payload, routed: Routed) -> None:
    """Every list of the value by its reader; a value without any is an event of the number."""
    lists: Sequence[tuple[str, Reader | None]] = [each for each in LISTS if each[0] in change.value]
    if change.field == "history" and "messages" in change.value:  # media that follow it
        lists = [("messages", partial(_imported, thread=None))]
    if not lists:
        if change.field == "messages" and not change.value.keys() & {"user_actions"}:
            routed.noted.append(f"{change.place}: {change.field} holds neither messages nor statuses")
            return
        routed.facts.append(context.noted_of_account(f"account.{change.field}", change.raw))
        return
    for name, reader in lists:
        try:
            parts = change.items(name)
        except Undecodable as error:
            routed.unreadable.append(f"{change.place}.{name}: {error}")
            continue
        for index, raw in enumerate(parts):
            place = f"{change.place}.{name}[{index}]"
            if reader is None:
                _read_history(place, context, raw, received, routed)
            else:
                _read_part(place, partial(reader, context, raw, received), routed)


def _read_part(place: str, read: Callable[[], Sequence[Fact]], routed: Routed) -> None:
    try:
        routed.facts.extend(read())
    except Uneventful as reason:
        routed.noted.append(f"{place}: {reason}")
    except Undecodable as error:
        routed.unreadable.append(f"{place}: {error}")


def _fields(raw: Raw) -> Mapping[str, object]:
    """Raises `Undecodable`."""
    found = payload.value(raw)
    if not isinstance(found, dict):
        payload.members(raw)  # raises, saying what it is instead
    return payload.record(found)


def _message(context: ChangeContext, raw: Raw, received: Payload) -> list[Fact]:
    return inbound.facts_of(MessageObject(context, raw, _fields(raw), received.repaired(raw)))


def _status(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    return status.facts_of(context, raw, _fields(raw))


def _error(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    code = status.reported(_fields(raw)).code or "unknown"
    return [context.noted_of_account(f"error.{code}", raw)]


def _user_action(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    kind = payload.text(_fields(raw).get("action_type")) or "unknown"
    return [context.noted_of_account(f"user_action.{kind}", raw)]


def _preference(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    """The contact does not want one kind of messages, or wants them again."""
    node = _fields(raw)
    kind = ".".join(payload.text(node.get(name)) or "unknown" for name in ("category", "value"))
    return [context.noted(f"subscription.{kind}", raw, _about(context, node, "wa_id", "user_id"))]


def _call(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    node = _fields(raw)
    kind = payload.text(node.get("event")) or payload.text(node.get("status")) or "unknown"
    return [context.noted(f"call.{kind.lower()}", raw, _about(context, node, "from", "from_user_id"))]


def _about(context: ChangeContext, node: Mapping[str, object], *members: str) -> FactOrigin:
    """Of the contact whose names the members hold, or else of the number itself."""
    at_ms = event_time(context.arrived_at_ms, node.get("timestamp")).at_ms
    names = participant.names(*(node.get(name) for name in members))
    if not names:
        return context.about(context.channel.source_channel_id, at_ms)
    return context.resolved(names).about(at_ms, context.cause)


# --- the phone's app


def _echo(context: ChangeContext, raw: Raw, received: Payload) -> list[Fact]:
    element = MessageObject(context, raw, _fields(raw), received.repaired(raw))
    group = payload.identifier(element.fields.get("group_id"))
    names = participant.names(element.fields.get("to"), element.fields.get("to_user_id"))
    names = names if group is None else (group,)
    if not names:
        raise Undecodable("the echo names no contact in to or to_user_id")
    identity = context.resolved(names)
    about = identity.about(element.time.at_ms, context.cause)
    if element.kind == "edit":
        return [inbound.edited(element, about)]
    if element.kind == "revoke":
        return [inbound.revoked(element, about)]
    if element.kind == "reaction":
        return [inbound.reacted(element, about, APP)]
    echoed = MessageEchoed(
        id=element.message_id,
        message_id=element.message_id,
        provider_id=element.provider_id,
        participant_id=names[0],
        sender_id=APP,
        content=raw,
        canonical=element.canonical,
        headers=element.headers(),
        arrived_at_ms=context.arrived_at_ms,
        **about,
    )
    return [echoed, *identity.facts(element.time.at_ms, context.cause)]


def _address_book(context: ChangeContext, raw: Raw, _: Payload) -> list[Fact]:
    """What the business calls a contact in its phone's address book."""
    node = _fields(raw)
    contact = payload.record(node.get("contact"))
    number = payload.identifier(contact.get("phone_number"))
    if number is None:
        raise Uneventful("names no phone number")
    at_ms = event_time(context.arrived_at_ms, payload.record(node.get("metadata")).get("timestamp")).at_ms
    about = context.resolved((number.removeprefix("+"),)).about(at_ms, context.cause)
    if node.get("action") == "remove":
        return [context.noted("contact.removed", raw, about)]
    name = payload.text(contact.get("full_name")) or payload.text(contact.get("first_name"))
    return context.profile((name or "").strip() or None, about, node)


def _read_history(place: str, context: ChangeContext, raw: Raw, received: Payload, routed: Routed) -> None:
    """A part of the last half year: messages are kept as events, because the order of a conversation is that of the log
    and theirs is older. A thread or message that cannot be read takes no other with it.
    """
    try:
        chunk = payload.members(raw)
        threads = payload.items(chunk.get("threads", NONE))
    except Undecodable as error:
        routed.unreadable.append(f"{place}: {error}")
        return
    if "errors" in chunk:
        routed.facts.append(context.noted_of_account("history.refused", raw))
        return
    for index, thread in enumerate(threads):
        where = f"{place}.threads[{index}]"
        try:
            members = payload.members(thread)
            name = payload.identifier(payload.value(members.get("id", envelope.NOTHING)))
            messages = payload.items(members.get("messages", NONE))
        except Undecodable as error:
            routed.unreadable.append(f"{where}: {error}")
            continue
        for number, message in enumerate(messages):
            read = partial(_imported, context, message, received, thread=name)
            _read_part(f"{where}.messages[{number}]", read, routed)


def _imported(context: ChangeContext, raw: Raw, _: Payload, *, thread: str | None) -> list[Fact]:
    node = _fields(raw)
    own = payload.identifier(node.get("from"))
    names = participant.names(thread) if thread else participant.names(node.get("to"), own)
    if not names:
        raise Uneventful("a message of the history names no contact")
    at_ms = event_time(context.arrived_at_ms, node.get("timestamp")).at_ms
    about = context.resolved(names[:1]).about(at_ms, context.cause)
    return [
        context.noted("history.message", raw, about, payload.identifier(node.get("id")), payload.text(node.get("type")))
    ]


Reader = Callable[[ChangeContext, Raw, Payload], Sequence[Fact]]
LISTS: tuple[tuple[str, Reader | None], ...] = (  # None: it holds lists itself
    ("messages", _message),
    ("statuses", _status),
    ("message_echoes", _echo),
    ("errors", _error),
    ("user_actions", _user_action),
    ("user_preferences", _preference),
    ("calls", _call),
    ("state_sync", _address_book),
    ("history", None),
)
