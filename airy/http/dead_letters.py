"""`/dead-letters.*`: the records of the log that could not be processed."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from airy import topics
from airy.bus.dead_letter import StoredDeadLetter
from airy.commands.dead_letters import AT_ONCE_MAX, DeadLetterList, DeadLetterOutcome, DeadLetterSummary
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Line, Text
from airy.http.resource import Resource
from airy.http.response_schemas import (
    DeadLetterDetailSchema,
    DeadLetterOutcomeSchema,
    DeadLetterSchema,
    ListSchema,
    PageSchema,
)
from airy.model.render import timestamp
from airy.store import cursors

Document = dict[str, object]


class Reason(Line):
    """Annotation: why something is done, a line that fits into a header of the log."""

    __slots__ = ()
    chars_max = 256


class ListDeadLetters(Struct, frozen=True):
    topic: FilledText | None = None  # of the original record; None: every topic
    state: Literal["open", "replayed", "discarded", "all"] = "open"
    cursor: FilledText | None = None
    page_size: int | None = None


class DeadLetterReference(Struct, frozen=True):
    id: Text


Ids = Annotated[list[Text], Meta(min_length=1, max_length=AT_ONCE_MAX)]


class DeadLetterReferences(Struct, frozen=True):
    ids: Ids


class DiscardDeadLetters(Struct, frozen=True):
    ids: Ids
    reason: Reason | None = None


@action("/dead-letters.list", permission=Permission.MANAGE, body=ListDeadLetters, returns=PageSchema[DeadLetterSchema])
async def list_(api: ApiContext, request: ActionRequest[ListDeadLetters]) -> Reply:
    """A page of dead letters, newest first."""
    body = request.body
    found = await api.dead_letters.find_all(body.topic, None if body.state == "all" else body.state)
    return Reply(page(found, body.cursor, cursors.page_size(body.page_size)))


@action("/dead-letters.info", permission=Permission.MANAGE, body=DeadLetterReference, returns=DeadLetterDetailSchema)
async def info(api: ApiContext, request: ActionRequest[DeadLetterReference]) -> Reply:
    """One dead letter with its headers and its body."""
    summary, letter = await api.dead_letters.get(request.body.id)
    return Reply(render_detail(summary, letter))


@action(
    "/dead-letters.replay",
    permission=Permission.MANAGE,
    body=DeadLetterReferences,
    returns=ListSchema[DeadLetterOutcomeSchema],
)
async def replay(api: ApiContext, request: ActionRequest[DeadLetterReferences]) -> Reply:
    """Append the original records to their topics again. A dead letter that was replayed before is left alone."""
    return _outcomes(await api.dead_letters.replay(request.body.ids, actor=request.caller.id))


@action(
    "/dead-letters.discard",
    permission=Permission.MANAGE,
    body=DiscardDeadLetters,
    returns=ListSchema[DeadLetterOutcomeSchema],
)
async def discard(api: ApiContext, request: ActionRequest[DiscardDeadLetters]) -> Reply:
    """Mark dead letters as discarded, with a reason. They stay in the log until retention deletes them."""
    body = request.body
    return _outcomes(await api.dead_letters.discard(body.ids, actor=request.caller.id, reason=body.reason or ""))


RESOURCE = Resource(
    name="dead-letters",
    component="api-admin",
    actions=(list_, info, replay, discard),
    commands="dlq",
)


def page(found: DeadLetterList, cursor: str | None, page_size: int) -> Document:
    """The page that begins at `cursor`. Raises `Refused` for an invalid one."""
    key = cursors.decode(cursor)
    if isinstance(key, int):
        raise Refused("not a cursor of this list", field="cursor")
    rest = [letter for letter in found.letters if key is None or letter.sort_key <= key]
    more = rest[page_size : page_size + 1]
    pagination: Document = {
        "previous_cursor": None,
        "next_cursor": cursors.encode(more[0].sort_key) if more else None,
        "total": len(found.letters),
    }
    if not found.complete:
        pagination["complete"] = False
    return {"data": [render(letter) for letter in rest[:page_size]], "pagination_data": pagination}


def render(letter: DeadLetterSummary) -> Document:
    return {
        "id": letter.id,
        "topic": letter.position.topic,
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "key": letter.key,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_seen_at": timestamp(letter.first_seen_ms),
        "dead_lettered_at": timestamp(letter.dead_lettered_at_ms),
        "trace_id": letter.trace_id or None,
        "size_bytes": letter.size_bytes,
        "state": letter.state,
        "resolved_at": None if letter.resolved_at_ms is None else timestamp(letter.resolved_at_ms),
        "resolved_by": letter.resolved_by or None,
        "resolution_reason": letter.resolution_reason or None,
    }


def render_detail(summary: DeadLetterSummary, letter: StoredDeadLetter) -> Document:
    text = _text(letter.value or b"")
    return {
        **render(summary),
        "headers": [
            {"name": name, "value": value.decode("utf-8", "backslashreplace")} for name, value in letter.headers
        ],
        "body_encoding": "base64" if text is None else "text",
        "body": b64encode(letter.value or b"").decode() if text is None else text,
    }


def render_outcome(outcome: DeadLetterOutcome) -> Document:
    return {"id": outcome.id, "result": outcome.result}


def _outcomes(outcomes: Sequence[DeadLetterOutcome]) -> Reply:
    folded = {topic.name for topic in topics.FOLDED}
    positions = [each.position for each in outcomes if each.position and each.position.topic in folded]
    return Reply({"data": [render_outcome(each) for each in outcomes]}, more_positions=positions)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
