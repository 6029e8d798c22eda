"""A message of ours becomes one call of the Send API, or the reason why Meta would not take it. Pure.

What Meta certainly refuses is refused here, with a sentence that says what to change; what it may refuse is left to it.
Where the dialect has it, `message.metadata` is our message id: Meta returns it in the echo, which settles a call whose
answer was lost.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from airy.errors import Refused, Undecodable
from airy.model.conversation import Conversation, Message
from airy.model.raw import NULL
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.meta import content as contents
from airy.sources.meta import graph, message_rules, participant
from airy.sources.meta.app import MetaApp
from airy.sources.meta.element import WINDOW_MS
from airy.sources.meta.message_rules import BODIES, Dialect

HUMAN_AGENT_MS = 7 * 86_400_000  # since the contact's last message

MESSAGING_TYPES = frozenset({"RESPONSE", "UPDATE", "MESSAGE_TAG", "UTILITY"})
RETIRED_TAGS = frozenset({"ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE"})
REACTIONS = ("react", "unreact")
ABSENT = frozenset({b"null", b'""'})
REQUEST_FIELDS = frozenset({"messaging_type", "tag", "notification_type", "persona_id", "reply_to"})  # beside message


def encode(app: MetaApp, dialect: Dialect, message: Message, target: Target, now_ms: int) -> list[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    token = target.credentials.get("token")
    if token is None:
        return Failed(kind="auth", error="the channel has no token: connect it again", stop_lane=True)
    try:
        members = _members(message.content, dialect)
        if "sender_action" in members:
            return [_call(app, token, recipient_id, _reaction(members))]
        content, request = _parts(members)
        message_rules.check(payload.record(payload.value(Raw(msgspec.json.encode(content)))), dialect)
        fields = {name: payload.value(part) for name, part in request.items()}
        if "template" in content:
            fields.setdefault("messaging_type", "UTILITY")
        kind = _messaging_type(app, dialect, fields, target.conversation, now_ms)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    if isinstance(kind, Failed):
        return kind
    planted = {"metadata": message.id} if dialect.correlates else {}
    return [_call(app, token, recipient_id, {**request, **kind, "message": content | planted})]


def signal(app: MetaApp, target: Target, action: str) -> list[Call]:
    """A sender action: `mark_seen`, `typing_on`."""
    token = target.credentials.get("token")
    recipient_id = target.conversation.participant_id if target.conversation else None
    if token is None or recipient_id is None:
        return []
    return [_call(app, token, recipient_id, {"sender_action": action})]


def _call(app: MetaApp, token: Secret, recipient_id: str, fields: Mapping[str, object]) -> Call:
    body = {"recipient": participant.recipient(recipient_id), **fields, **graph.proved(app, token)}
    return graph.call("POST", f"{app.graph}/me/messages", token, msgspec.json.encode(body))


def _members(content: Raw, dialect: Dialect) -> dict[str, Raw]:
    """The message object, or the fields of the call with the message in `message`. Raises `Refused`."""
    try:
        members = payload.members(content)
        wanted = canonical.outbound({"canonical": payload.value(members.pop("canonical", NULL))})
        if wanted is not None:
            return _beside(payload.members(msgspec.json.encode(contents.message_of(wanted, dialect))), members)
        if "message" in members and not any(bytes(members.get(name, NULL)) != b"null" for name in BODIES):
            return payload.members(members["message"]) | {
                name: part for name, part in members.items() if name in REQUEST_FIELDS
            }
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text or attachment") from error
    return members


def _beside(found: Mapping[str, Raw], members: Mapping[str, Raw]) -> dict[str, Raw]:
    """What canonical content became, and what is given beside it. Raises `Refused`."""
    given = {name: part for name, part in members.items() if bytes(part) != b"null"}
    for name in sorted(given.keys() & {"message", "sender_action"}):
        raise Refused(f"{name} is given beside canonical: a message has one of them", field=name)
    return canonical.with_fields(found, given)


def _parts(members: dict[str, Raw]) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The message object, and the fields of the call beside it."""
    request = {name: members.pop(name) for name in sorted(REQUEST_FIELDS & members.keys())}
    return members, {name: part for name, part in request.items() if bytes(part) not in ABSENT}


def _reaction(members: Mapping[str, Raw]) -> dict[str, object]:
    """The fields of a call that reacts to a message of the contact, or takes that back. Raises `Refused`."""
    given = {name: payload.value(part) for name, part in members.items()}
    action, details = given["sender_action"], payload.record(given.get("payload"))
    if action not in REACTIONS:
        raise Refused(f"sender_action is one of {', '.join(REACTIONS)}, not {action!r}", field="sender_action")
    mid, emoji = payload.identifier(details.get("message_id")), payload.text(details.get("reaction"))
    if mid is None:
        raise Refused("payload.message_id is missing: the source.id of the message", field="payload.message_id")
    if action == "unreact":
        return {"sender_action": action, "payload": {"message_id": mid}}
    if emoji is None:
        raise Refused("payload.reaction is missing: an emoji", field="payload.reaction")
    return {"sender_action": action, "payload": {"message_id": mid, "reaction": emoji}}


def _messaging_type(
    app: MetaApp,
    dialect: Dialect,
    request: Mapping[str, object],
    conversation: Conversation | None,
    now_ms: int,
) -> dict[str, str] | Failed:
    """The caller's own tag, or what the time since the contact's last message allows. Raises `Refused`."""
    tag, kind = request.get("tag"), request.get("messaging_type")
    if kind is not None and not (isinstance(kind, str) and kind in MESSAGING_TYPES):
        raise Refused(
            f"messaging_type is one of {', '.join(sorted(MESSAGING_TYPES))}, not {kind!r}",
            field="messaging_type",
        )
    if tag is not None:
        if not isinstance(tag, str) or not tag:
            raise Refused("tag is a word such as HUMAN_AGENT", field="tag")
        if tag in RETIRED_TAGS:
            template = ", and in an approved template otherwise" if "template" in dialect.bodies else ""
            raise Refused(
                f"Meta takes the tag {tag} no more since 2026-04-27: answer without a tag within 24 hours, with "
                f"HUMAN_AGENT within 7 days{template}",
                field="tag",
            )
        return {"messaging_type": "MESSAGE_TAG", "tag": tag}
    if kind == "MESSAGE_TAG":
        raise Refused("messaging_type MESSAGE_TAG needs a tag", field="tag")
    until_ms = conversation.window_until_ms if conversation else None
    if until_ms is None or now_ms <= until_ms or kind == "UTILITY":  # without a known window Meta decides
        return {"messaging_type": str(kind or "RESPONSE")}
    if app.human_agent and now_ms <= until_ms - WINDOW_MS + HUMAN_AGENT_MS:
        return {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
    hours = (now_ms - until_ms + WINDOW_MS) // 3_600_000
    allowed = "7 days" if app.human_agent else "24 hours"
    return Failed(
        kind="window",
        error=f"the contact last wrote {hours} hours ago and {dialect.title} allows answers for {allowed}: "
        f"wait until they write, or give a tag {dialect.title} accepts",
    )
