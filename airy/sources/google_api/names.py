"""Google's resource names, such as `conversations/c-1/messages/m-1`. Pure."""

import re
from collections.abc import Mapping

from airy.sources import payload

_AGENT = re.compile(r"(?:brands/[^/]+/)?agents/([^/]+)")


def agent(event: Mapping[str, object]) -> str | None:
    """The id of the agent an event is for."""
    match = _AGENT.fullmatch(payload.text(event.get("agent")) or "")
    return match[1] if match else None


def last(name: object) -> str | None:
    """The last part of a resource name: the id within its collection."""
    return payload.text((payload.text(name) or "").rpartition("/")[2])
