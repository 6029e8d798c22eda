"""An update of Telegram's becomes facts. Pure: a table of what an update can hold, and a reader for each.

Ids are pure functions of what happened: a message is its chat and number, a tap its own id. `content` is the object
inside the update as Telegram wrote it. The update does not name the bot: the record's key does.
"""

from collections.abc import Callable, Collection, Mapping

from msgspec import Raw, Struct

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import (
    EventNoted,
    Fact,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ProfileResolved,
    ReactionChanged,
)
from airy.model.identity import IdentityKey
from airy.model.raw import NULL
from airy.sources import canonical, payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import FactOrigin, cause_of, fact_origin
from airy.sources.identity import ResolvedIdentity, resolve
from airy.sources.provider_time import EventTime, event_time, time_ms
from airy.sources.telegram import chat, content

UPDATE_LEVEL = 1
BUSINESS_WINDOW_MS = 86_400_000
EMPTY_PAYLOAD = "__empty__"
MEMBERSHIP = {"kicked": "subscription.blocked", "left": "subscription.blocked", "member": "subscription.started"}


class Part(Struct, frozen=True):
    """The one thing an update is about, besides its number."""

    name: str
    raw: Raw
    node: Mapping[str, object]
    channel: Channel
    received_ms: int
    cause: str
    repaired: bool
    update_id: str
    channels: Channels

    def time(self, name: str = "date") -> EventTime:
        """As the update says, else when it arrived."""
        return event_time(self.received_ms, self.node.get(name))

    def about(self, conversation: str, at_ms: int) -> FactOrigin:
        if not chat.may_move(conversation):
            return fact_origin(self.channel, conversation, at_ms, self.cause)
        return self.identity(conversation).about(at_ms, self.cause)

    def identity(self, conversation: str) -> ResolvedIdentity:
        """Of a group."""
        names = chat.names(self.node)
        return resolve(self.channel, names if conversation in names else (conversation,), self.channels)

    def derived(self, kind: str, *parts: object) -> str:
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")

    def canonical(self) -> Raw:
        return canonical.encode(content.canonical_of(self.node))

    def marked(self, headers: dict[str, str], time: EventTime | None = None) -> dict[str, str]:
        repaired = {"content.repaired": "true"} if self.repaired else {}
        return headers | repaired | (time.headers if time else {})


def identities(record: Record, channels: Channels) -> Collection[IdentityKey]:
    """Of groups alone: no other chat gets another number."""
    channel = channels.by_account("telegram", record.key.decode("utf-8", "replace"))
    if channel is None:
        return ()
    try:
        update = payload.members(payload.read(record.value or b"", element_level=UPDATE_LEVEL).body)
        nodes = [payload.record(payload.value(update[name])) for name in update if name != "update_id"]
    except Undecodable:
        return ()
    return [IdentityKey(channel.id, name) for node in nodes for name in chat.names(node) if chat.may_move(name)]


def route(record: Record, channels: Channels) -> Routed:
    """Raises `Undecodable`."""
    received = payload.read(record.value or b"", element_level=UPDATE_LEVEL)
    update = payload.members(received.body)
    account = record.key.decode("utf-8", "replace")
    channel = channels.by_account("telegram", account)
    names = [name for name in update if name != "update_id"]
    if channel is None:
        return Routed([], [AccountKey("telegram", account)] if names else [], [])
    facts: list[Fact] = []
    unreadable: list[str] = []
    noted: list[str] = [] if names else ["the update holds nothing but its number"]
    cause = cause_of(record)
    for name in names:
        try:
            node = payload.value(update[name])
            if not isinstance(node, dict):
                payload.members(update[name])  # raises, saying what it is instead
            raw = update[name]
            part = Part(
                name,
                raw,
                payload.record(node),
                channel,
                record.timestamp_ms,
                cause,
                received.repaired(raw),
                bytes(update.get("update_id", NULL)).decode(),
                channels,
            )
            facts += READERS.get(name, _other)(part)
        except Uneventful as reason:
            noted.append(f"{name} {reason}")
        except Undecodable as error:
            unreadable.append(f"{name}: {error}")
    return Routed(facts, [], unreadable, noted)


# --- messages


def _message(part: Part) -> list[Fact]:
    conversation = _conversation(part)
    if part.node.get("business_connection_id") is not None and _from_owner(part):
        return [_echo(part, conversation)]
    time = part.time()
    about = part.about(conversation, time.at_ms)
    provider_id = chat.message(part.node)
    message_id = ids.message_id(part.channel.id, provider_id or payload.canonical(part.node))
    business = part.node.get("business_connection_id") is not None
    names = part.identity(conversation).names if chat.may_move(conversation) else (conversation,)
    facts: list[Fact] = [
        MessageReceived(
            id=message_id,
            message_id=message_id,
            provider_id=provider_id,
            participant_id=names[0],
            content=part.raw,
            canonical=part.canonical(),
            sender_id=_sender(part.node, conversation),
            headers=part.marked({}, time),
            window_until_ms=time.at_ms + BUSINESS_WINDOW_MS if business else None,
            reply_to=chat.message(part.node, payload.record(part.node.get("reply_to_message")).get("message_id", 0)),
            arrived_at_ms=part.received_ms,
            **about,
        ),
        *_profile(part, about, message_id),
        *(part.identity(conversation).facts(time.at_ms, part.cause) if chat.may_move(conversation) else ()),
    ]
    word, _, start = (payload.text(part.node.get("text")) or "").partition(" ")
    if word == "/start" and start.strip():
        facts.append(_noted(part, "referral", about, referral=start.strip()))
    return facts


def _from_owner(part: Part) -> bool:
    """Business chats are private: what the contact did not write, the account's owner or another bot did."""
    sender = payload.identifier(payload.record(part.node.get("from")).get("id"))
    return sender != payload.identifier(payload.record(part.node.get("chat")).get("id"))


def _echo(part: Part, conversation: str) -> MessageEchoed:
    provider_id = chat.message(part.node)
    bot = payload.identifier(payload.record(part.node.get("sender_business_bot")).get("id"))
    message_id = ids.message_id(part.channel.id, provider_id or payload.canonical(part.node))
    time = part.time()
    return MessageEchoed(
        id=message_id,
        message_id=message_id,
        provider_id=provider_id or message_id,
        participant_id=conversation,
        sender_id="telegram:owner" if bot is None else f"telegram:bot:{bot}",
        content=part.raw,
        canonical=part.canonical(),
        headers=part.marked({}, time),
        arrived_at_ms=part.received_ms,
        **part.about(conversation, time.at_ms),
    )


def _edited(part: Part) -> list[Fact]:
    """Telegram counts no edits: their time orders them."""
    provider_id = _named(part.node)
    edited = part.node.get("edit_date")
    return [
        MessageEdited(
            id=part.derived("edited", provider_id, time_ms(edited) or edited, part.node),
            provider_id=provider_id,
            revision=0,
            content=part.raw,
            canonical=part.canonical(),
            **part.about(_conversation(part), part.time("edit_date").at_ms),
        )
    ]


def _deleted(part: Part) -> list[Fact]:
    numbers = part.node.get("message_ids")
    named = [chat.message(part.node, number) for number in numbers] if isinstance(numbers, list) else []
    if not any(named):
        raise Uneventful("names no messages in message_ids")
    about = part.about(_conversation(part), part.received_ms)
    return [
        MessageDeleted(id=part.derived("deleted", name), provider_id=name, **about)
        for name in named
        if name is not None
    ]


def _tapped(part: Part) -> list[Fact]:
    """Telegram says when the message with the button was written, not when it was tapped."""
    tap_id = payload.text(part.node.get("id"))
    below = payload.record(part.node.get("message"))
    conversation = chat.conversation(below) or payload.identifier(payload.record(part.node.get("from")).get("id"))
    if tap_id is None or conversation is None:
        raise Undecodable("names no tap in id, or no chat")
    message_id = ids.message_id(part.channel.id, f"callback:{tap_id}")
    headers = {"postback.payload": payload.text(part.node.get("data")) or EMPTY_PAYLOAD}
    return [
        MessageReceived(
            id=message_id,
            message_id=message_id,
            participant_id=conversation,
            content=part.raw,
            canonical=part.canonical(),
            sender_id=_sender(part.node, conversation),
            headers=part.marked(headers),
            reply_to=chat.message(below),
            **part.about(conversation, part.received_ms),
        )
    ]


def _reaction(part: Part) -> list[Fact]:
    """Telegram's times are seconds, in which a reaction may be set, removed and set again: updates tell them apart."""
    provider_id = _named(part.node)
    user = payload.record(part.node.get("user")) or payload.record(part.node.get("actor_chat"))
    actor = payload.identifier(user.get("id"))
    if actor is None:
        raise Undecodable("reaction names no actor")
    given = part.node.get("new_reaction")
    last = payload.record(given[-1]) if isinstance(given, list) and given else {}
    emoji = (
        payload.text(last.get("emoji")) or payload.text(last.get("custom_emoji_id")) or payload.text(last.get("type"))
    )
    return [
        ReactionChanged(
            id=part.derived("reaction", provider_id, actor, emoji, part.node.get("date"), part.update_id),
            provider_id=provider_id,
            actor=actor,
            emoji=emoji,
            **part.about(_conversation(part), part.time().at_ms),
        )
    ]


# --- everything else


def _membership(part: Part) -> list[Fact]:
    status = payload.text(payload.record(part.node.get("new_chat_member")).get("status")) or "unknown"
    kind = MEMBERSHIP.get(status, f"subscription.{status}")
    return [_noted(part, kind, part.about(_conversation(part), part.time().at_ms))]


def _other(part: Part) -> list[Fact]:
    return [_noted(part, f"update.{payload.text(part.name) or 'unknown'}", _about_any(part))]


def _account(part: Part) -> list[Fact]:
    return [_noted(part, f"account.{part.name}", _about_any(part))]


def _about_any(part: Part) -> FactOrigin:
    """What names no chat is kept under its sender, or else under the bot itself."""
    sender = payload.record(part.node.get("from")) or payload.record(part.node.get("user"))
    conversation = chat.conversation(part.node) or payload.identifier(sender.get("id"))
    return part.about(conversation or part.channel.source_channel_id, part.time().at_ms)


def _noted(part: Part, kind: str, about: FactOrigin, *, referral: str | None = None) -> EventNoted:
    return EventNoted(
        id=part.derived("event", kind, part.node), kind_at_source=kind, content=part.raw, referral=referral, **about
    )


def _profile(part: Part, about: FactOrigin, message_id: str) -> list[Fact]:
    """The name of the contact, or of the group."""
    node = payload.record(part.node.get("chat"))
    names = (payload.text(node.get("first_name")), payload.text(node.get("last_name")))
    name = payload.text(node.get("title")) or " ".join(each.strip() for each in names if each).strip()
    if not name:
        return []
    return [ProfileResolved(id=ids.derive(message_id, ":profile"), found=True, display_name=name, **about)]


def _sender(node: Mapping[str, object], conversation: str) -> str | None:
    """The author of a message in a group, where the conversation is not the sender."""
    sender = payload.identifier(payload.record(node.get("from")).get("id"))
    return None if sender in {None, *conversation.split(":")} else sender


def _conversation(part: Part) -> str:
    found = chat.conversation(part.node)
    if found is None:
        raise Undecodable("names no chat")
    return found


def _named(node: Mapping[str, object]) -> str:
    found = chat.message(node)
    if found is None:
        raise Undecodable("names no message in message_id")
    return found


READERS: Mapping[str, Callable[[Part], list[Fact]]] = {
    "message": _message,
    "edited_message": _edited,
    "business_message": _message,
    "edited_business_message": _edited,
    "deleted_business_messages": _deleted,
    "callback_query": _tapped,
    "message_reaction": _reaction,
    "my_chat_member": _membership,
    "business_connection": _account,
}
