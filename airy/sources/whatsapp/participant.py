"""Names of WhatsApp's participants: phone numbers, business-scoped user ids and groups.

A number is what WhatsApp writes as `wa_id`, digits alone; an id is opaque and kept byte for byte. Of a contact both may
be shown, or one. The number is the better name: every kind of message can be sent to it. A parent id is of a group of
businesses and is no name here.
"""

import re
from collections.abc import Iterable, Mapping

from airy.sources import payload

NAME_KEYS = frozenset(
    {
        *("from", "to", "wa_id", "new_wa_id", "recipient_id"),
        *("from_user_id", "to_user_id", "user_id", "previous_user_id", "recipient_user_id", "customer"),
    }
)
"""The members of a webhook that may hold the name of a contact."""

_NUMBER = re.compile(r"\d{1,24}")
_USER_ID = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]+")


def names(*given: object) -> tuple[str, ...]:
    """Those that are names, each once, in this order."""
    return tuple(dict.fromkeys(name for each in given if (name := payload.identifier(each)) is not None))


def all_names(node: object) -> Iterable[str]:
    """Every name anywhere in a value, and some texts that are none."""
    if isinstance(node, dict):
        for key, part in node.items():
            if key in NAME_KEYS and isinstance(part, str | int):
                yield from names(part)
            else:
                yield from all_names(part)
    elif isinstance(node, list):
        for part in node:
            yield from all_names(part)


def recipient(name: str) -> dict[str, str]:
    """The members of a call that name the receiver of a message."""
    if _NUMBER.fullmatch(name):
        return {"recipient_type": "individual", "to": name}
    if _USER_ID.fullmatch(name):
        return {"recipient_type": "individual", "recipient": name}
    return {"recipient_type": "group", "to": name}


def display_name(contact: Mapping[str, object]) -> str | None:
    """Of an element of `contacts`: the profile's name, else the user name."""
    profile = payload.record(contact.get("profile"))
    name = (payload.text(profile.get("name")) or "").strip()
    if name:
        return name
    username = (payload.text(profile.get("username")) or payload.text(contact.get("username")) or "").strip()
    return f"@{username}" if username else None
