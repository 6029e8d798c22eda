"""Names of the contacts of a page: an id, or `user_ref:…` for a guest who has none yet.

A guest wrote or opted in through a plugin on a website, which chose the `user_ref`. Meta takes it as a recipient too,
and has no profile for it.
"""

from collections.abc import Mapping

from airy.sources import payload

GUEST = "user_ref:"


def name_of(end: Mapping[str, object]) -> str | None:
    """Of `sender`, `recipient` or `optin`."""
    identifier = payload.identifier(end.get("id"))
    if identifier is not None:
        return identifier
    reference = payload.identifier(end.get("user_ref"))
    return None if reference is None else GUEST + reference


def is_guest(participant: str) -> bool:
    return participant.startswith(GUEST)


def recipient(participant: str) -> dict[str, str]:
    """The recipient of a call."""
    return {"user_ref": participant.removeprefix(GUEST)} if is_guest(participant) else {"id": participant}
