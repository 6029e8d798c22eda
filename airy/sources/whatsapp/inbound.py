"""One message object of a contact becomes facts: a table of its types, and a reader for each. Pure.

A type without a reader is a message all the same: its content is kept as WhatsApp wrote it. In a group the conversation
is the group's, and the writer is the sender.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from airy.errors import Undecodable
from airy.model.fact import Fact, MessageDeleted, MessageEdited, MessageReceived, ReactionChanged
from airy.sources import canonical, payload
from airy.sources.fact_origin import FactOrigin
from airy.sources.identity import ResolvedIdentity
from airy.sources.provider_time import time_ms
from airy.sources.whatsapp import content, participant
from airy.sources.whatsapp.element import MessageObject

WINDOW_MS = 86_400_000  # how long an answer is allowed after the contact wrote
EMPTY_PAYLOAD = "__empty__"
RENAMED = frozenset({"user_changed_number", "user_changed_user_id", "customer_changed_number"})


def facts_of(element: MessageObject) -> list[Fact]:
    """Raises `Undecodable`."""
    return READERS.get(element.kind, _message)(element)


# --- identity


def author(fields: Mapping[str, object]) -> tuple[str, ...]:
    """The names of the author as the message has them."""
    return participant.names(fields.get("from"), fields.get("from_user_id"))


def writer(element: MessageObject) -> tuple[str, ...]:
    """The names of the author, best first. Raises `Undecodable`."""
    written = author(element.fields)
    contact = element.context.contact_of(written)
    found = participant.names(
        contact.get("wa_id"),
        element.fields.get("from"),
        contact.get("user_id"),
        element.fields.get("from_user_id"),
    )
    if not found:
        raise Undecodable("the message names no contact in from or from_user_id")
    return found


def conversation(element: MessageObject) -> ResolvedIdentity:
    """Where the message belongs. Raises `Undecodable`."""
    group = payload.identifier(element.fields.get("group_id"))
    return element.context.resolved(writer(element) if group is None else (group,))


def _about(element: MessageObject, identity: ResolvedIdentity) -> FactOrigin:
    return identity.about(element.time.at_ms, element.context.cause)


def _and_names(
    element: MessageObject, facts: list[Fact], identity: ResolvedIdentity, *, answer_to: str | None = None
) -> list[Fact]:
    """The facts, then what they show about the contact's names and profile."""
    facts += identity.facts(element.time.at_ms, element.context.cause, answer_to=answer_to)
    if "group_id" in element.fields:  # its writers' names are not its own
        return facts
    name = participant.display_name(element.context.contact_of(writer(element)))
    return facts + element.context.profile(name, _about(element, identity), element.fields.get("id"))


# --- messages


def _message(element: MessageObject) -> list[Fact]:
    identity = conversation(element)
    facts: list[Fact] = [_received(element, identity, element.headers())]
    referral = element.node("referral")
    if told := payload.identifier(referral.get("source_id")) or payload.text(referral.get("source_url")):
        context, about = element.context, _about(element, identity)
        facts.append(context.noted("referral", element.raw, about, element.provider_id, referral=told))
    return _and_names(element, facts, identity)


def _received(element: MessageObject, identity: ResolvedIdentity, headers: dict[str, str]) -> MessageReceived:
    about, sender = _about(element, identity), writer(element)[0]
    return MessageReceived(
        id=element.message_id,
        message_id=element.message_id,
        provider_id=element.provider_id,
        participant_id=identity.names[0],
        sender_id=None if sender == identity.names[0] else sender,
        content=element.raw,
        canonical=element.canonical,
        headers=headers,
        window_until_ms=about["at_ms"] + WINDOW_MS,
        reply_to=payload.identifier(element.node("context").get("id")),
        arrived_at_ms=element.context.arrived_at_ms,
        **about,
    )


def _tapped(element: MessageObject) -> list[Fact]:
    """A button or an option; also a form that was filled in."""
    identity = conversation(element)
    taps = [each for each in content.canonical_of(element.fields) if isinstance(each, canonical.PostbackContent)]
    told = {"postback.payload": taps[0].payload or EMPTY_PAYLOAD} if taps else {}
    return _and_names(element, [_received(element, identity, told | element.headers())], identity)


def _shared_contacts(element: MessageObject) -> list[Fact]:
    """A contact identity was asked for their number shares it as a contact: it is a name of theirs from now on."""
    names = writer(element)
    group = payload.identifier(element.fields.get("group_id"))
    own = None if group is not None else _own_number(element)
    identity = element.context.resolved((group,) if group is not None else participant.names(*names, own))
    return _and_names(element, [_received(element, identity, element.headers())], identity, answer_to=own)


def _own_number(element: MessageObject) -> str | None:
    given = element.fields.get("contacts")
    nodes = [payload.record(each) for each in given] if isinstance(given, list) else []
    for node in nodes:
        if "contact_request" not in (node.get("origin"), element.fields.get("origin")):
            continue
        phones = node.get("phones")
        for phone in phones if isinstance(phones, list) else ():
            if number := payload.identifier(payload.record(phone).get("wa_id")):
                return number
    return None


def _system(element: MessageObject) -> list[Fact]:
    """The contact has another number or id from now on, or another device."""
    node = element.node("system")
    told = participant.names(node.get("wa_id"), node.get("new_wa_id"), node.get("user_id"))
    renamed = payload.text(node.get("type")) in RENAMED and bool(told)
    former = participant.names(
        node.get("customer"),  # of older versions
        element.fields.get("from"),
        node.get("previous_user_id"),
        element.fields.get("from_user_id"),
    )
    names = participant.names(*former, *told) if renamed else writer(element)
    if not names:
        raise Undecodable("the system message names no contact")
    identity = element.context.resolved(names)
    answer_to = told[0] if renamed else None
    about = _about(element, identity)
    received = MessageReceived(
        id=element.message_id,
        message_id=element.message_id,
        provider_id=element.provider_id,
        participant_id=answer_to or names[0],
        content=element.raw,
        canonical=element.canonical,
        headers=element.headers(),
        arrived_at_ms=element.context.arrived_at_ms,
        **about,
    )
    return [received, *identity.facts(about["at_ms"], element.context.cause, answer_to=answer_to)]


# --- what happens to messages


def _reaction(element: MessageObject) -> list[Fact]:
    identity = conversation(element)
    return _and_names(element, [reacted(element, _about(element, identity), writer(element)[0])], identity)


def _edited(element: MessageObject) -> list[Fact]:
    identity = conversation(element)
    return _and_names(element, [edited(element, _about(element, identity))], identity)


def _revoked(element: MessageObject) -> list[Fact]:
    identity = conversation(element)
    return _and_names(element, [revoked(element, _about(element, identity))], identity)


def reacted(element: MessageObject, about: FactOrigin, actor: str) -> ReactionChanged:
    """Without an emoji the reaction is taken back. Raises `Undecodable`."""
    node = element.node("reaction")
    target = payload.identifier(node.get("message_id"))
    if target is None:
        raise Undecodable("the reaction names no message in message_id")
    emoji = payload.text(node.get("emoji"))
    return ReactionChanged(
        id=element.context.derived("reaction", target, actor, emoji, element.provider_id),
        provider_id=target,
        actor=actor,
        emoji=emoji,
        **about,
    )


def edited(element: MessageObject, about: FactOrigin) -> MessageEdited:
    """The content takes the shape of a message: the new body is where a message has it. WhatsApp counts no edits: their
    time orders them. Raises `Undecodable`.
    """
    node = element.node("edit")
    target = payload.identifier(node.get("original_message_id"))
    if target is None or not isinstance(node.get("message"), dict):
        raise Undecodable("the edit names no message in original_message_id, or has none")
    outer = payload.members(element.raw)
    inner = payload.members(payload.members(outer["edit"])["message"])
    shape = {name: part for name, part in outer.items() if name not in {"edit", "type", "id"}}
    said = Raw(msgspec.json.encode({**shape, "id": target, **inner}))
    written = element.fields.get("timestamp")
    return MessageEdited(
        id=element.context.derived("edited", target, time_ms(written) or written, node.get("message")),
        provider_id=target,
        revision=0,
        content=said,
        canonical=canonical.encode(content.canonical_of(payload.record(payload.value(said)))),
        **about,
    )


def revoked(element: MessageObject, about: FactOrigin) -> MessageDeleted:
    """Raises `Undecodable`."""
    target = payload.identifier(element.node("revoke").get("original_message_id"))
    if target is None:
        raise Undecodable("the revocation names no message in original_message_id")
    return MessageDeleted(id=element.context.derived("deleted", target), provider_id=target, **about)


READERS: Mapping[str, Callable[[MessageObject], list[Fact]]] = {
    "button": _tapped,
    "interactive": _tapped,
    "contacts": _shared_contacts,
    "system": _system,
    "reaction": _reaction,
    "edit": _edited,
    "revoke": _revoked,
}
