"""What is known around one element of a change: its number, its contact's names, its time.

Ids are pure functions of what happened, never of how or how often it was delivered: a message is its `wamid`, as in the
original whatever the number, a receipt the message and the state.
"""

from collections.abc import Mapping, Sequence

from msgspec import Raw, Struct

from airy.errors import Undecodable
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import EventNoted, Fact, ProfileResolved
from airy.sources import canonical, payload
from airy.sources.api import Channels
from airy.sources.fact_origin import FactOrigin, fact_origin
from airy.sources.identity import ResolvedIdentity, resolve
from airy.sources.provider_time import EventTime, event_time
from airy.sources.whatsapp import content

Fields = Mapping[str, object]


class ChangeContext(Struct, frozen=True):
    """What the elements of one change have in common."""

    channel: Channel
    channels: Channels
    contacts: Sequence[Fields]
    arrived_at_ms: int
    cause: str
    one_author: bool = True  # whether all messages of the change are by one contact

    def resolved(self, names: Sequence[str], *, conversation_id: str | None = None) -> ResolvedIdentity:
        return resolve(self.channel, names, self.channels, conversation_id=conversation_id)

    def contact_of(self, names: Sequence[str]) -> Fields:
        """The element of `contacts` that has one of these names, or the only one of the only author, whose number may
        be written in another way there; an empty one if there is none.
        """
        for each in self.contacts:
            if {payload.identifier(each.get("wa_id")), payload.identifier(each.get("user_id"))} & set(names):
                return each
        return self.contacts[0] if len(self.contacts) == 1 and self.one_author else {}

    def about(self, name: str, at_ms: int) -> FactOrigin:
        return fact_origin(self.channel, name, at_ms, self.cause)

    def derived(self, kind: str, *parts: object) -> str:
        """An id for what is not a message."""
        return ids.derive(self.channel.id, f"{kind}:{payload.canonical(parts)}")

    def noted(self, kind: str, raw: Raw, about: FactOrigin, *identity: object, referral: str | None = None) -> Fact:
        """`identity`: what tells the event from others of its kind; without it, the whole of it does."""
        said = identity or (payload.value(raw),)
        return EventNoted(
            id=self.derived("event", kind, *said), kind_at_source=kind, content=raw, referral=referral, **about
        )

    def noted_of_account(self, kind: str, raw: Raw) -> Fact:
        """An event without a contact is kept under the number itself."""
        return self.noted(kind, raw, self.about(self.channel.source_channel_id, self.arrived_at_ms))

    def profile(self, name: str | None, about: FactOrigin, event: object) -> list[Fact]:
        """`event`: what tells the event that shows the name from others, so that a former name can come back."""
        if name is None:
            return []
        fact_id = self.derived("profile", about["conversation_id"], event)
        return [ProfileResolved(id=fact_id, found=True, display_name=name, **about)]


class MessageObject(Struct, frozen=True):
    """A message object, of a contact or an echo."""

    context: ChangeContext
    raw: Raw
    fields: Fields
    repaired: bool

    @property
    def kind(self) -> str:
        return payload.text(self.fields.get("type")) or "unknown"

    def node(self, name: str) -> Fields:
        return payload.record(self.fields.get(name))

    @property
    def time(self) -> EventTime:
        return event_time(self.context.arrived_at_ms, self.fields.get("timestamp"))

    @property
    def provider_id(self) -> str:
        """Raises `Undecodable`."""
        found = payload.identifier(self.fields.get("id"))
        if found is None:
            raise Undecodable("the message has no id")
        return found

    @property
    def message_id(self) -> str:
        return message_id(self.provider_id)

    def headers(self) -> dict[str, str]:
        told = {"content.repaired": "true"} if self.repaired else {}
        context = self.node("context")
        if context.get("forwarded") is True or context.get("frequently_forwarded") is True:
            told["message.forwarded"] = "true"
        return told | self.time.headers

    @property
    def canonical(self) -> Raw:
        return canonical.encode(content.canonical_of(self.fields))


def message_id(provider_id: str) -> str:
    """The original's rule."""
    return ids.derive("", provider_id)
