"""Documents and errors of Twilio's REST API."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from airy.sim.provider.api import ApiReply, json_reply, record
from airy.sim.provider.options import SendFault

BODY_CHARACTERS_MAX = 1600
MEDIA_MAX = 10
MESSAGES = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    21211: "The 'To' number is not a valid phone number.",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The From phone number is not a valid message-capable Twilio phone number for this account.",
    21610: "Attempt to send to unsubscribed recipient",
    21617: "The concatenated message body exceeds the 1600 character limit",
    63016: "Failed to send freeform message because you are outside the allowed window.",
}
STATUSES = {20003: 401, 20404: 404, 20429: 429, 20500: 500}
FAULTS = {
    SendFault.RATE_LIMITED: 20429,
    SendFault.BUSY: 20500,
    SendFault.BLOCKED: 21610,
    SendFault.OUTSIDE_WINDOW: 63016,
    SendFault.TOKEN_EXPIRED: 20003,
}


def error(code: int, *, retry_after_s: int | None = None) -> ApiReply:
    status = STATUSES.get(code, 400)
    document = {
        "code": code,
        "message": MESSAGES.get(code, "simulated error"),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return json_reply(document, status, **({} if retry_after_s is None else {"retry_after": str(retry_after_s)}))


def malformed(fields: Mapping[str, list[str]], numbers: frozenset[str]) -> int | None:
    """The code of the first thing that is wrong."""
    to, sender = _first(fields, "To"), _first(fields, "From")
    if not to:
        return 21604
    if not sender and not _first(fields, "MessagingServiceSid"):
        return 21603
    if sender and sender not in numbers:
        return 21606
    if not to.removeprefix("whatsapp:").lstrip("+").replace(".", "").isalnum():
        return 21211
    body = _first(fields, "Body")
    if not body and not fields.get("MediaUrl") and not _first(fields, "ContentSid"):
        return 21602
    return 21617 if len(body) > BODY_CHARACTERS_MAX else None


def message(sid: str, account_sid: str, fields: Mapping[str, list[str]], status: str) -> dict[str, object]:
    return {
        "sid": sid,
        "account_sid": account_sid,
        "from": _first(fields, "From"),
        "to": _first(fields, "To"),
        "body": _first(fields, "Body"),
        "num_media": str(len(fields.get("MediaUrl", []))),
        "num_segments": "1",
        "status": status,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "api_version": "2010-04-01",
        "uri": f"/2010-04-01/Accounts/{account_sid}/Messages/{sid}.json",
    }


def rfc_2822(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC))


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return (fields.get(name) or [""])[0]


def code_of(reply: ApiReply) -> int | None:
    code = record(reply.body.decode("utf-8", "replace")).get("code")
    return code if isinstance(code, int) else None
