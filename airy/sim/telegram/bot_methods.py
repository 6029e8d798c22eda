"""Documents and errors of the Bot API."""

from collections.abc import Mapping
from typing import Any

from airy.sim.provider.acts import PersonAct, Presses
from airy.sim.provider.api import ApiReply, SimFile, json_reply, record, records
from airy.sim.provider.options import SendFault

TEXT_CHARACTERS_MAX = 4096
CAPTION_CHARACTERS_MAX = 1024

CONTENT = {  # method: the field that it cannot do without
    "sendMessage": "text",
    "sendPhoto": "photo",
    "sendDocument": "document",
    "sendVideo": "video",
    "sendAudio": "audio",
    "sendVoice": "voice",
    "sendAnimation": "animation",
    "sendSticker": "sticker",
    "sendVideoNote": "video_note",
    "sendLocation": "latitude",
    "sendVenue": "title",
    "sendContact": "phone_number",
    "sendMediaGroup": "media",
    "sendPoll": "question",
    "sendDice": "chat_id",
}
ACTIONS = frozenset({"sendChatAction", "setMessageReaction", "deleteMessage", "editMessageText"})  # of a chat

UNAUTHORIZED = (401, "Unauthorized")
NOT_FOUND = (404, "Not Found")
BLOCKED = (403, "Forbidden: bot was blocked by the user")
CHAT_NOT_FOUND = (400, "Bad Request: chat not found")


def ok(result: object) -> ApiReply:
    return json_reply({"ok": True, "result": result})


def error(code: int, description: str, **parameters: object) -> ApiReply:
    document: dict[str, object] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        document["parameters"] = parameters
    return json_reply(document, code)


def fault_reply(fault: SendFault, code: int | None, retry_after_s: int | None) -> ApiReply:
    match fault:
        case SendFault.RATE_LIMITED:
            wait_s = 1 if retry_after_s is None else retry_after_s
            return error(429, f"Too Many Requests: retry after {wait_s}", retry_after=wait_s)
        case SendFault.BLOCKED:
            return error(*BLOCKED)
        case SendFault.TOKEN_EXPIRED:
            return error(*UNAUTHORIZED)
        case SendFault.ERROR:
            return error(code or 400, "Bad Request: simulated error")
        case SendFault.OUTSIDE_WINDOW:
            return error(400, "Bad Request: BUSINESS_PEER_USAGE_MISSING")
    return error(500, "Internal Server Error: restart")


def malformed(method: str, fields: Mapping[str, Any]) -> str | None:
    """Why a send is refused. Objects in forms are text."""
    if not fields.get(CONTENT[method]):
        return "message text is empty" if method == "sendMessage" else f"there is no {CONTENT[method]} in the request"
    if len(str(fields.get("text") or "")) > TEXT_CHARACTERS_MAX:
        return "message is too long"
    if len(str(fields.get("caption") or "")) > CAPTION_CHARACTERS_MAX:
        return "message caption is too long"
    if method == "sendMediaGroup" and not 2 <= len(records(fields["media"])) <= 10:
        return "media group must include 2-10 items"
    long = [button for button in buttons(fields) if len(str(button.get("callback_data", "")).encode()) > 64]
    return "BUTTON_DATA_INVALID" if long else None


def buttons(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = record(fields.get("reply_markup")).get("inline_keyboard")
    return [button for row in (rows if isinstance(rows, list) else ()) for button in records(row)]


def offered(fields: Mapping[str, Any]) -> tuple[PersonAct, ...]:
    return tuple(
        Presses(str(button.get("text", "")), str(button["callback_data"]))
        for button in buttons(fields)
        if "callback_data" in button
    )


def text_of(fields: Mapping[str, Any]) -> str | None:
    text = fields.get("text") or fields.get("caption")
    return text if isinstance(text, str) else None


def shown_content(fields: Mapping[str, Any]) -> dict[str, object]:
    """The fields of a call as they are kept."""
    return {name: (each.name if isinstance(each, SimFile) else each) for name, each in fields.items()}
