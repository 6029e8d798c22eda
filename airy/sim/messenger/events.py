r"""Webhook JSON as Meta encodes it: compact, non-ASCII as `\uXXXX`, slashes escaped, times in milliseconds."""

import json
from collections.abc import Mapping, Sequence

from msgspec import Struct

Element = dict[str, object]

FIELDS = {  # node that determines the kind of an event: the subscription field it needs
    "message": "messages",
    "postback": "messaging_postbacks",
    "delivery": "message_deliveries",
    "read": "message_reads",
    "reaction": "message_reactions",
    "message_edit": "message_edits",
    "referral": "messaging_referrals",
    "optin": "messaging_optins",
    "pass_thread_control": "messaging_handovers",
    "take_thread_control": "messaging_handovers",
    "request_thread_control": "messaging_handovers",
    "app_roles": "messaging_handovers",
    "account_linking": "messaging_account_linking",
    "policy_enforcement": "messaging_policy_enforcement",
}


class Event(Struct, frozen=True):
    """One element of a webhook, with its page."""

    page_id: str
    element: Element
    standby: bool = False

    @property
    def kind(self) -> str:
        known = (name for name in self.element if name in FIELDS)
        name = next(known, "unknown")
        return "echo" if name == "message" and _node(self.element, name).get("is_echo") else name

    @property
    def subscription(self) -> str:
        if self.standby:
            return "standby"
        return "message_echoes" if self.kind == "echo" else FIELDS.get(self.kind, "messages")

    @property
    def mids(self) -> tuple[str, ...]:
        found: list[str] = []
        for name in self.element:
            node = _node(self.element, name)
            mids = node.get("mids")
            found += [str(node["mid"])] if "mid" in node else []
            found += map(str, mids) if isinstance(mids, list) else []
        return tuple(found)


def meta_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def webhook(events: Sequence[Event], now_ms: int) -> bytes:
    """The body for events of one page."""
    entry: dict[str, object] = {"id": events[0].page_id, "time": now_ms}
    for name, standby in (("messaging", False), ("standby", True)):
        elements = [event.element for event in events if event.standby is standby]
        if elements:
            entry[name] = elements
    return meta_json({"object": "page", "entry": [entry]})


# --- elements


def element(sender: str, recipient: str, at_ms: int, **nodes: object) -> Element:
    return {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": at_ms, **nodes}


def echo(
    page_id: str,
    recipient: str,
    at_ms: int,
    mid: str,
    content: Mapping[str, object],
    *,
    app_id: str | None = None,
) -> Element:
    """`app_id` None: the message was meta_json in the page's own inbox."""
    node: dict[str, object] = {"mid": mid, "is_echo": True}
    if app_id is not None:
        node["app_id"] = int(app_id) if app_id.isdigit() else app_id
    shown = {name: content[name] for name in ("metadata", "text", "quick_replies") if name in content}
    attachment = content.get("attachment")
    if isinstance(attachment, dict):
        shown["attachments"] = [attachment]
    return element(page_id, recipient, at_ms, message={**node, **shown})


def delivery(sender: str, page_id: str, at_ms: int, mid: str, watermark_ms: int) -> Element:
    return element(sender, page_id, at_ms, delivery={"mids": [mid], "watermark": watermark_ms})


def reaction(mid: str, emoji: str | None) -> Element:
    node: dict[str, object] = {"mid": mid, "action": "unreact" if emoji is None else "react"}
    if emoji is not None:
        node |= {"reaction": "other", "emoji": "".join(f"\\u{{{ord(letter):X}}}" for letter in emoji)}
    return {"reaction": node}


def _node(element: Element, name: str) -> Mapping[str, object]:
    node = element.get(name)
    return node if isinstance(node, dict) else {}
