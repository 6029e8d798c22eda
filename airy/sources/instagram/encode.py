"""A message to an Instagram contact becomes one call of the Send API."""

from collections.abc import Sequence

from airy.model.conversation import Message
from airy.sources.api import Call, Failed, Target
from airy.sources.meta import send_request
from airy.sources.meta.app import MetaApp
from airy.sources.meta.message_rules import INSTAGRAM


def encode(app: MetaApp, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
    return send_request.encode(app, INSTAGRAM, message, target, now_ms)


def mark_read(app: MetaApp, target: Target) -> Sequence[Call]:
    return send_request.signal(app, target, "mark_seen")


def typing(app: MetaApp, target: Target) -> Sequence[Call]:
    return send_request.signal(app, target, "typing_on")
