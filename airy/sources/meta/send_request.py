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
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.meta import content as contents
from airy.sources.meta import graph, message_rules, participant
from airy.sources.meta.app import MetaApp
from airy.sources.meta.element import WINDOW_MS
from airy.sources.meta.message_rules import BODIES, Dialect

HUMAN_AGENT_MS = 7 * 86_400_000  # since the contact's last message

MESSAGING_TYPES = frozenset({"RESPONSE", "UPDATE", "MESSAGE_TAG", "UTILITY"})
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
        content, request = _parts(message.content, dialect)
        message_rules.check(payload.record(payload.value(Raw(msgspec.json.encode(content)))), dialect)
        fields = {name: payload.value(part) for name, part in request.items()}
        kind = _messaging_type(app, dialect, fields, target.conversation, now_ms)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    if isinstance(kind, Failed):
        return kind
    body = {
        "recipient": participant.recipient(recipient_id),
        **request,
        **kind,
        "message": content | ({"metadata": message.id} if dialect.correlates else {}),
        "appsecret_proof": graph.proof(app, token),
    }
    return [graph.call("POST", f"{app.graph}/me/messages", token, msgspec.json.encode(body))]


def signal(app: MetaApp, target: Target, action: str) -> list[Call]:
    """A sender action: `mark_seen`, `typing_on`."""
    token = target.credentials.get("token")
    recipient_id = target.conversation.participant_id if target.conversation else None
    if token is None or recipient_id is None:
        return []
    body = {
        "recipient": participant.recipient(recipient_id),
        "sender_action": action,
        "appsecret_proof": graph.proof(app, token),
    }
    return [graph.call("POST", f"{app.graph}/me/messages", token, msgspec.json.encode(body))]


def _parts(content: Raw, dialect: Dialect) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The message object and the fields of the call; content is that object, has it in `message`, or is canonical."""
    try:
        members = payload.members(content)
        wanted = canonical.outbound({"canonical": payload.value(members.pop("canonical", NULL))})
        if wanted is not None:
            members = payload.members(msgspec.json.encode(contents.message_of(wanted, dialect.title)))
        elif "message" in members and not any(bytes(members.get(name, NULL)) != b"null" for name in BODIES):
            members = payload.members(members["message"]) | {
                name: part for name, part in members.items() if name in REQUEST_FIELDS
            }
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text or attachment") from error
    request = {name: members.pop(name) for name in sorted(REQUEST_FIELDS & members.keys())}
    return members, {name: part for name, part in request.items() if bytes(part) not in ABSENT}


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
