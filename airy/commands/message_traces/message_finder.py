"""Finds the message that a caller names by one of its ids."""

from collections.abc import Sequence

from msgspec import Struct

from airy.commands.errors import Conflict, NotFound
from airy.errors import Refused
from airy.model import ids
from airy.model.conversation import Message
from airy.store.api import FoldedMessage, StoreQueries

CANDIDATES_MAX = 20  # listed by an error
NAMED_MAX = 5  # in its text


class TraceReference(Struct, frozen=True, kw_only=True):
    """One of the ids; `id` may be any of them.

    A conversation alone names its last message. Beside another id it narrows the search, as channel and source do.
    """

    id: str | None = None
    message_id: str | None = None
    source_message_id: str | None = None
    conversation_id: str | None = None
    channel_id: str | None = None
    source: str | None = None


class AmbiguousMessage(Conflict):
    """Several messages have the id."""

    def __init__(self, reference: str, field: str, candidates: Sequence[Message]) -> None:
        named = ", ".join(f"{each.id} ({each.source})" for each in candidates[:NAMED_MAX])
        more = f" and {len(candidates) - NAMED_MAX} more" if len(candidates) > NAMED_MAX else ""
        super().__init__(
            f"{len(candidates)} messages have the id {reference[:128]!r}: {named}{more}; "
            "choose by channel, source or the message's own id",
            field=field,
        )
        self.candidates = tuple(candidates[:CANDIDATES_MAX])


async def find_message(store: StoreQueries, reference: TraceReference) -> FoldedMessage:
    """Raises `Refused` for a reference without an id or with several, `NotFound`, `AmbiguousMessage`."""
    named = {name: value for name in _IDS if (value := getattr(reference, name)) is not None}
    if len(named) > 1:
        raise Refused(f"only one of {', '.join(named)}", field=[*named][1])
    if not named:
        if reference.conversation_id is None:
            raise Refused("one of id, message_id, source_message_id and conversation_id is needed", field="id")
        return await _last_of(store, reference.conversation_id, "conversation_id")
    [(field, value)] = named.items()
    found: list[FoldedMessage] = []
    if field != "source_message_id":
        found = await store.folded_messages([value])
    if field != "message_id" and not found:
        found = await _named_by_provider(store, value, reference)
    found = [each for each in found if _matches(each.message, reference)]
    if field == "id" and not found and await store.conversation(value) is not None:
        return await _last_of(store, value, field)
    if not found:
        raise NotFound(f"there is no {_WHAT[field]} {value[:128]!r}{_narrowed(reference)}", field=field)
    if len(found) > 1:
        raise AmbiguousMessage(value, field, [each.message for each in found])
    return found[0]


_WHAT = {
    "id": "message or conversation with the id",
    "message_id": "message",
    "source_message_id": "message with the provider's id",
}
_IDS = tuple(_WHAT)


def _narrowed(reference: TraceReference) -> str:
    narrowing = ("conversation_id", "channel_id", "source")
    given = [f"{name} {value}" for name in narrowing if (value := getattr(reference, name))]
    return f" of {' and '.join(given)}" if given else ""


def _matches(message: Message, reference: TraceReference) -> bool:
    return (
        reference.conversation_id in (None, message.conversation_id)
        and reference.channel_id in (None, message.channel_id)
        and reference.source in (None, message.source)
    )


async def _last_of(store: StoreQueries, conversation_id: str, field: str) -> FoldedMessage:
    view = await store.conversation(conversation_id)
    if view is None:
        raise NotFound(f"there is no conversation {conversation_id[:128]!r}", field=field)
    last_id = view.conversation.last_message_id
    found = [] if last_id is None else await store.folded_messages([last_id])
    for each in found:
        if each.message.conversation_id == view.conversation.id:
            return each
    raise NotFound(f"the conversation {conversation_id[:128]!r} has no message", field=field)


async def _named_by_provider(store: StoreQueries, provider_id: str, reference: TraceReference) -> list[FoldedMessage]:
    """By the index of provider ids, and by the ids that derive from them in any channel."""
    if reference.channel_id is not None:
        channels = [reference.channel_id]
    else:
        channels = [each.id for each in await store.channels(source=reference.source, connected_only=False)]
    derived = (ids.message_id(channel_id, provider_id) for channel_id in channels)
    message_ids = dict.fromkeys([*await store.named_by_provider(provider_id), *derived])
    return [each for each in await store.folded_messages(message_ids) if each.message.provider_id == provider_id]
