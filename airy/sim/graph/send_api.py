"""The Send API of Messenger and Instagram: what Graph refuses, and the errors it answers with."""

from collections.abc import Mapping
from typing import Any

from airy.sim.graph import errors
from airy.sim.graph.options import INSTAGRAM, WHATSAPP, kind_of
from airy.sim.provider.api import ApiReply, record, records
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.state import Person

WINDOW_MS = 86_400_000
HUMAN_AGENT_MS = 7 * 86_400_000
TEXT_CHARACTERS_MAX = 2000
TEXT_BYTES_MAX = 1000  # of Instagram
QUICK_REPLIES_MAX = 13

BUSY = errors.error("Service temporarily unavailable", 2, status=500)
NO_USER = errors.error("(#100) No matching user found", 100, subcode=2018001)
THROUGHPUT = 130429
TAG_RETIRED = errors.error("(#100) The message tag is no longer supported", 100)


def fault_reply(account: SimAccount, fault: SendFault, code: int | None, retry_after_s: int | None) -> ApiReply:
    if fault is SendFault.TOKEN_EXPIRED:
        return errors.expired_token()
    if fault is SendFault.ERROR:
        return errors.error(f"(#{code or 100}) simulated error", code or 100, retry_after_s=retry_after_s)
    whatsapp = kind_of(account) == WHATSAPP
    return _whatsapp_fault(fault, code, retry_after_s) if whatsapp else _messaging_fault(account, fault, retry_after_s)


def _whatsapp_fault(fault: SendFault, code: int | None, retry_after_s: int | None) -> ApiReply:
    match fault:
        case SendFault.RATE_LIMITED:
            number = code or THROUGHPUT
            return errors.error(f"(#{number}) Rate limit hit", number, status=429, retry_after_s=retry_after_s)
        case SendFault.BLOCKED:
            return errors.error("(#131026) Message undeliverable", 131026)
        case SendFault.OUTSIDE_WINDOW:
            return errors.error("(#131047) Re-engagement message", 131047)
    return errors.error("(#131016) Service unavailable", 131016, status=500)


def _messaging_fault(account: SimAccount, fault: SendFault, retry_after_s: int | None) -> ApiReply:
    match fault:
        case SendFault.RATE_LIMITED:
            text = "(#613) Calls to this api have exceeded the rate limit."
            return errors.error(text, 613, retry_after_s=retry_after_s)
        case SendFault.BLOCKED:
            return errors.error("(#551) This person isn't available right now.", 551, subcode=1545041)
        case SendFault.OUTSIDE_WINDOW:
            return outside_window(instagram=kind_of(account) == INSTAGRAM)
    return BUSY


def outside_window(*, instagram: bool) -> ApiReply:
    text = "(#10) This message is sent outside of allowed window."
    return errors.error(text, 10, subcode=2534022 if instagram else 2018278)


def refusal(
    account: SimAccount, person: Person | None, content: Mapping[str, Any], now_ms: int, *, human_agent: bool
) -> ApiReply | None:
    """What Graph refuses without an injected fault. `content` is the body of the call."""
    instagram = kind_of(account) == INSTAGRAM
    if person is None or person.account_id != account.id:
        return errors.error("(#100) No matching user found", 100, subcode=2534014) if instagram else NO_USER
    if person.blocked:
        return fault_reply(account, SendFault.BLOCKED, None, None)
    return _malformed(record(content.get("message")), instagram=instagram) or _out_of_window(
        content, person, now_ms, instagram=instagram, human_agent=human_agent
    )


def _out_of_window(
    content: Mapping[str, Any], person: Person, now_ms: int, *, instagram: bool, human_agent: bool
) -> ApiReply | None:
    if record(content.get("message")).get("template") and content.get("messaging_type") == "UTILITY":
        return None  # an approved template
    silence_ms = None if person.wrote_at_ms is None else now_ms - person.wrote_at_ms
    tagged = content.get("messaging_type") == "MESSAGE_TAG"
    if tagged and content.get("tag") != "HUMAN_AGENT":
        return TAG_RETIRED
    if silence_ms is not None and silence_ms <= WINDOW_MS:
        return None
    allowed = tagged and human_agent and silence_ms is not None and silence_ms <= HUMAN_AGENT_MS
    return None if allowed else outside_window(instagram=instagram)


def _malformed(message: Mapping[str, Any], *, instagram: bool) -> ApiReply | None:
    text, attachment, replies = message.get("text"), message.get("attachment"), message.get("quick_replies")
    attachments = records(message.get("attachments"))
    template = record(message.get("template")) if not instagram else {}
    if template and not (template.get("name") and record(template.get("language")).get("code")):
        return errors.error("(#100) Param message[template] must have a name and a language", 100)
    if text is None and attachment is None and not attachments and not template and "sticker_id" not in message:
        said = "(#100) Message cannot be empty, must provide valid attachment or text"
        return errors.error(said, 100, subcode=2018089)
    if text is not None and (not isinstance(text, str) or not text or _too_long(text, instagram=instagram)):
        said = f"(#100) Length of param message[text] must be less than or equal to {TEXT_CHARACTERS_MAX}"
        return errors.error(said, 100)
    if attachment is not None and not record(attachment).get("type"):
        return errors.error("(#100) Param message[attachment][type] is required", 100)
    if isinstance(replies, list) and len(replies) > QUICK_REPLIES_MAX:
        return errors.error(f"(#100) Quick replies are limited to {QUICK_REPLIES_MAX}", 100)
    return None


def _too_long(text: str, *, instagram: bool) -> bool:
    return len(text.encode()) > TEXT_BYTES_MAX if instagram else len(text) > TEXT_CHARACTERS_MAX
