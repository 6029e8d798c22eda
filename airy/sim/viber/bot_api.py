"""Documents and statuses of Viber's API: every answer is HTTP 200, the body has the status."""

from collections.abc import Mapping
from typing import Any

from airy.sim.provider.acts import PersonAct, Says
from airy.sim.provider.api import ApiReply, json_reply, record, records
from airy.sim.provider.options import SendFault

STATUSES = {
    0: "ok",
    1: "invalidUrl",
    2: "invalidAuthToken",
    3: "badData",
    4: "missingData",
    5: "receiverNotRegistered",
    6: "receiverNotSubscribed",
    7: "publicAccountBlocked",
    8: "publicAccountNotFound",
    9: "publicAccountSuspended",
    10: "webhookNotSet",
    11: "receiverNoSuitableDevice",
    12: "tooManyRequests",
    13: "apiVersionNotSupported",
    23: "freeMessagesUsedUp",
    24: "noBalance",
}
FAULTS = {
    SendFault.RATE_LIMITED: 12,
    SendFault.BUSY: 12,  # Viber knows no other refusal that passes
    SendFault.BLOCKED: 6,
    SendFault.OUTSIDE_WINDOW: 6,
    SendFault.TOKEN_EXPIRED: 2,
}
REQUIRED = {
    "text": ("text",),
    "picture": ("media",),
    "video": ("media", "size"),
    "file": ("media", "size", "file_name"),
    "contact": ("contact",),
    "location": ("location",),
    "url": ("media",),
    "sticker": ("sticker_id",),
    "rich_media": ("rich_media",),
}
TEXT_CHARACTERS_MAX = 7000
NAME_CHARACTERS_MAX = 28


def answer(status: int, **fields: object) -> ApiReply:
    return json_reply({"status": status, "status_message": STATUSES.get(status, "simulated error"), **fields})


def problem(message: Mapping[str, Any]) -> int | None:
    """The status of the first thing that is wrong."""
    name = record(message.get("sender")).get("name")
    kind = message.get("type")
    if not message.get("receiver") or not isinstance(name, str) or kind not in REQUIRED:
        return 4
    if any(message.get(field) in {None, ""} for field in REQUIRED[kind] if not isinstance(message.get(field), dict)):
        return 4
    long = len(str(message.get("text") or "")) > TEXT_CHARACTERS_MAX or len(name) > NAME_CHARACTERS_MAX
    return 3 if long else None


def offered(message: Mapping[str, Any]) -> tuple[PersonAct, ...]:
    holders = (record(message.get("keyboard")), record(message.get("rich_media")))
    buttons = [button for holder in holders for button in records(holder.get("Buttons"))]
    return tuple(
        Says(str(button.get("ActionBody", ""))) for button in buttons if button.get("ActionType", "reply") == "reply"
    )


def code_of(reply: ApiReply) -> int | None:
    status = record(reply.body.decode("utf-8", "replace")).get("status")
    return status if isinstance(status, int) else None
