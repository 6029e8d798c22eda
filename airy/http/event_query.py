"""The query of `/events`: which events, and from where. Pure."""

from urllib.parse import parse_qsl

from msgspec import Struct

from airy.actors.feed_position import PARTITIONS, FeedPosition, ResumeToken, decode
from airy.actors.feed_subscriber import FeedScope
from airy.http.field_error import FieldError
from airy.http.request_bodies import invalid
from airy.model.change import ChangeKind
from airy.model.ids import canonical_uuid

VALUES_MAX = 100  # of each parameter
PARAMETERS = {
    "kind": f"type of event: {', '.join(ChangeKind)}; several by commas or by repeating the parameter. Absent: all",
    "conversation_id": "only events of these conversations",
    "channel_id": "only events of these channels and of their conversations",
    "resume": "`resume` of the last event received; absent: from now on",
}
ANOTHER_LOG = ResumeToken(FeedPosition((2**62,) * len(PARTITIONS)), None)
"""Of a token that cannot be read here: a position in no log, which is answered with `resync`."""


class EventQuery(Struct, frozen=True):
    scope: FeedScope
    resume: ResumeToken | None


def parse(query: str, last_event_id: str | None = None) -> EventQuery:
    """`last_event_id`, which a browser sends by itself when it reconnects, is newer than `resume`.

    Raises `Problem`, `Refused`.
    """
    given: dict[str, list[str]] = {name: [] for name in PARAMETERS}
    errors = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in given:
            errors.append(FieldError(name, f"is no parameter; there are {', '.join(PARAMETERS)}"))
        else:
            given[name] += [part.strip() for part in value.split(",") if part.strip()]
    kinds = [kind.lower().replace("_", ".") for kind in given["kind"]]
    errors += [
        FieldError("kind", f"{kind[:64]!r} is no type of event") for kind in kinds if kind not in set(ChangeKind)
    ]
    ids = {name: [(text, canonical_uuid(text)) for text in given[name]] for name in ("conversation_id", "channel_id")}
    errors += [FieldError(name, f"{text[:64]!r} is no id") for name in ids for text, found in ids[name] if not found]
    many = [name for name in given if len(given[name]) > VALUES_MAX]
    errors += [FieldError(name, f"has more than {VALUES_MAX} values") for name in many]
    if errors:
        raise invalid(errors)
    scope = FeedScope(
        kinds=frozenset(map(ChangeKind, kinds)),
        conversations=frozenset(found for _, found in ids["conversation_id"] if found),
        channels=frozenset(found for _, found in ids["channel_id"] if found),
    )
    token = last_event_id or (given["resume"][-1] if given["resume"] else None)
    return EventQuery(scope, (decode(token) or ANOTHER_LOG) if token else None)
