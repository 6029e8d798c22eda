r"""Events of Messenger and Instagram as Meta writes them: elements of `messaging`, times in milliseconds."""

import json
from collections.abc import Mapping, Sequence

from airy.errors import Refused
from airy.sim.graph.options import FACEBOOK, INSTAGRAM, kind_of
from airy.sim.provider.acts import (
    Edits,
    PersonAct,
    Presses,
    Reacts,
    Reads,
    Says,
    SendsMedia,
    Starts,
    Unsends,
)
from airy.sim.provider.api import Event, records
from airy.sim.provider.options import SimAccount
from airy.sim.provider.state import Person

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
ATTACHMENTS = {"voice": "audio", "sticker": "image"}  # where Meta has no type of its own
OBJECTS = {FACEBOOK: "page", INSTAGRAM: "instagram"}


def meta_json(document: object) -> bytes:
    r"""Compact, non-ASCII as `\uXXXX`, slashes escaped."""
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def event(account: SimAccount, element: Element, *, standby: bool = False) -> Event:
    """The event of one element. An Instagram account has the fields of its page: only pages filter here."""
    name = next((name for name in element if name in FIELDS), "unknown")
    node = _node(element, name)
    kind = "echo" if name == "message" and node.get("is_echo") else name
    topic = "message_echoes" if kind == "echo" else FIELDS.get(kind, "messages")
    return Event(
        account_id=account.id,
        kind=kind,
        element={"standby": element} if standby else element,
        ids=_ids(element),
        topic="" if kind_of(account) == INSTAGRAM else "standby" if standby else topic,
        batch=f"{kind_of(account)}:{account.id}",
    )


def envelope(account: SimAccount, events: Sequence[Event], now_ms: int) -> dict[str, object]:
    """The body for events of one account."""
    entry: dict[str, object] = {"id": account.id, "time": now_ms}
    standby = [each.element["standby"] for each in events if "standby" in each.element]
    elements = [each.element for each in events if "standby" not in each.element]
    entry |= {name: found for name, found in (("messaging", elements), ("standby", standby)) if found}
    return {"object": OBJECTS[kind_of(account)], "entry": [entry]}


def element_of(account: SimAccount, person: Person, act: PersonAct, mid: str, now_ms: int, media_url: str) -> Element:
    """Raises `Refused` for what the app cannot do."""
    instagram = kind_of(account) == INSTAGRAM
    match act:
        case Reads() if instagram and person.last_message_id is None:
            raise Refused("the account has sent nothing yet that could be read", field="act")
        case Reads():
            node: Element = {"read": {"mid": person.last_message_id} if instagram else {"watermark": now_ms}}
        case Reacts(emoji, message_id):
            node = reaction(message_id or person.last_message_id or "", emoji)
        case Unsends(message_id):
            node = {"message": {"mid": message_id, "is_deleted": True}}
        case Edits(message_id, text, revision):
            node = {"message_edit": {"mid": message_id, "text": text, "num_edit": revision}}
        case Starts(reference):
            node = {"referral": {"ref": reference, "source": "SHORTLINK", "type": "OPEN_THREAD"}}
        case _:
            node = _written(act, mid, media_url)
    return element(person.id, account.id, now_ms, **node)


def _written(act: PersonAct, mid: str, media_url: str) -> Element:
    match act:
        case Says(text, payload, reply_to, extra):
            quick = {} if payload is None else {"quick_reply": {"payload": payload}}
            reply = {} if reply_to is None else {"reply_to": {"mid": reply_to}}
            return {"message": {"mid": mid, "text": text, **quick, **reply, **extra}}
        case SendsMedia(kind, url, caption):
            attachment = {"type": ATTACHMENTS.get(kind, kind), "payload": {"url": url or media_url}}
            return {"message": {"mid": mid, "attachments": [attachment], **({"text": caption} if caption else {})}}
        case Presses(title, payload, _, extra):
            return {"postback": {"mid": mid, "title": title, "payload": payload, **extra}}
    raise Refused(f"Meta reports no such act: {type(act).__name__}", field="act")


def element(sender: str, recipient: str, at_ms: int, **nodes: object) -> Element:
    return {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": at_ms, **nodes}


def echo(
    account_id: str,
    recipient: str,
    at_ms: int,
    mid: str,
    content: Mapping[str, object],
    *,
    app_id: str | None = None,
) -> Element:
    """`app_id` None: the message was written in the page's own inbox."""
    node: dict[str, object] = {"mid": mid, "is_echo": True}
    if app_id is not None:
        node["app_id"] = int(app_id) if app_id.isdigit() else app_id
    names = ("metadata", "text", "quick_replies") if app_id is not None else ("text",)
    shown = {name: content[name] for name in names if name in content}
    attachment = content.get("attachment")
    if isinstance(attachment, dict):
        shown["attachments"] = [attachment]
    elif attachments := records(content.get("attachments")):
        shown["attachments"] = attachments
    return element(account_id, recipient, at_ms, message={**node, **shown})


def delivery(sender: str, page_id: str, at_ms: int, mid: str, watermark_ms: int) -> Element:
    return element(sender, page_id, at_ms, delivery={"mids": [mid], "watermark": watermark_ms})


def reaction(mid: str, emoji: str | None) -> Element:
    node: dict[str, object] = {"mid": mid, "action": "unreact" if emoji is None else "react"}
    if emoji is not None:
        node |= {"reaction": "other", "emoji": "".join(f"\\u{{{ord(letter):X}}}" for letter in emoji)}
    return {"reaction": node}


def offered(message: Mapping[str, object]) -> tuple[PersonAct, ...]:
    """What a person may tap below this message."""
    attachment = _node(message, "attachment")
    payload = _node(attachment, "payload")
    holders = [payload, *records(payload.get("elements"))]
    buttons = [button for holder in holders for button in records(holder.get("buttons"))]
    taps: list[PersonAct] = [
        Says(str(reply.get("title", "")), str(reply.get("payload", "")))
        for reply in records(message.get("quick_replies"))
        if reply.get("content_type") == "text"
    ]
    presses = [
        Presses(str(button.get("title", "")), str(button.get("payload", "")))
        for button in buttons
        if button.get("type") == "postback"
    ]
    return (*taps, *presses)


def _ids(element: Element) -> tuple[str, ...]:
    found: list[str] = []
    for name in element:
        node = _node(element, name)
        mids = node.get("mids")
        found += [str(node["mid"])] if "mid" in node else []
        found += map(str, mids) if isinstance(mids, list) else []
    return tuple(found)


def _node(element: Mapping[str, object], name: str) -> Mapping[str, object]:
    node = element.get(name)
    return node if isinstance(node, dict) else {}
