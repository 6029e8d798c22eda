"""A message of ours becomes one call of the Cloud API, or the reason why WhatsApp would not take it. Pure.

Our message id, its attempt and its conversation travel in `biz_opaque_callback_data` and come back in every status,
which settles a call whose answer was lost.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from airy.errors import Refused, Undecodable
from airy.model.conversation import Message
from airy.model.raw import NULL
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.meta import graph, graph_calls
from airy.sources.meta.app import MetaApp
from airy.sources.whatsapp import message_rules, outbound_content, participant
from airy.sources.whatsapp.inbound import WINDOW_MS
from airy.sources.whatsapp.status import correlation_text

CORRELATION = "biz_opaque_callback_data"
OURS = frozenset({"messaging_product", "recipient_type", "to", "recipient", CORRELATION})


def encode(app: MetaApp, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    token = target.credentials.get("token")
    if token is None:
        return Failed(kind="auth", error="the channel has no token: connect it again", stop_lane=True)
    to = participant.recipient(recipient_id)
    try:
        members = _members(message.content, to)
        kind = message_rules.check(payload.record(payload.value(Raw(msgspec.json.encode(members)))))
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    until_ms = target.conversation.window_until_ms if target.conversation else None
    if until_ms is not None and now_ms > until_ms and kind != "template" and to["recipient_type"] != "group":
        return _window_closed(until_ms, now_ms)
    body = {
        "messaging_product": "whatsapp",
        **to,
        "type": kind,
        **members,
        CORRELATION: correlation_text(message.id, message.attempt, message.conversation_id),
    }
    return [_post(app, target, token, body)]


def mark_read(app: MetaApp, target: Target, provider_id: str) -> Sequence[Call]:
    return _signal(app, target, provider_id, {})


def typing(app: MetaApp, target: Target, provider_id: str | None) -> Sequence[Call]:
    """Shown for 25 s or until the answer; the message is marked as read too."""
    return [] if provider_id is None else _signal(app, target, provider_id, {"typing_indicator": {"type": "text"}})


def _signal(app: MetaApp, target: Target, provider_id: str, more: Mapping[str, object]) -> Sequence[Call]:
    token = target.credentials.get("token")
    if token is None:
        return []
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": provider_id, **more}
    return [_post(app, target, token, body)]


def _post(app: MetaApp, target: Target, token: Secret, body: Mapping[str, object]) -> Call:
    url = graph_calls.proved(app, f"{app.graph}/{target.channel.source_channel_id}/messages", token)
    return graph.call("POST", url, token, msgspec.json.encode(body))


def _members(content: Raw, to: Mapping[str, str]) -> dict[str, Raw]:
    """What the caller wrote, or canonical content as WhatsApp has it. Raises `Refused`."""
    try:
        members = payload.members(content)
        wanted = canonical.outbound({"canonical": payload.value(members.pop("canonical", NULL))})
        given = {name: payload.value(members[name]) for name in ("to", "recipient") if name in members}
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object such as {{'text': {{'body': …}}}}") from error
    for name, written in given.items():
        if written is not None and payload.identifier(written) not in to.values():
            raise Refused(f"{name} names another contact than the conversation's: leave it out", field=name)
    kept = {name: part for name, part in members.items() if name not in OURS and bytes(part) != b"null"}
    if wanted is None:
        return kept
    return canonical.with_fields(payload.members(msgspec.json.encode(outbound_content.message_of(wanted))), kept)


def _window_closed(until_ms: int, now_ms: int) -> Failed:
    hours = (now_ms - until_ms + WINDOW_MS) // 3_600_000
    error = (
        f"the contact last wrote {hours} hours ago and WhatsApp allows answers for 24 hours: "
        "send a template, or wait until they write"
    )
    return Failed(kind="window", error=error)
