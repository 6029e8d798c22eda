"""Checks histories of clients of several API replicas for consistency. Pure: operations in, violations out.

Input: a list of `Operation`, one per HTTP request, in any order. Times are seconds of any one clock that all clients
share. A write is placed by the offset in its `x-airy-position`. A request whose answer was lost, or was 503, is in
`doubt`: it may have happened at any time after it began, or never, unless it has a position all the same. Values of
`set` and ids of `tag` have to be unique in a history, so that what a read shows says which writes it contains.

What is checked, for each conversation (which lives in one partition, so offsets order its writes):

- real time: of two writes that do not overlap, the later has the higher offset (linear writes);
- lower bound: a read contains every write at or below the positions it presented; every write that its own replica
  answered before the read began; and everything an earlier read of that replica showed;
- prefix: a read that shows a write shows all writes before it in the log (no holes, no reordering);
- no phantom writes: nothing is shown whose write had not begun;
- keys: one idempotency key is one message, whichever replicas were asked, and one content; it is shown once;
- unread: the count is that of some place in the log that the other rules allow;
- the end: final reads of all replicas are equal.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Literal

from msgspec import Struct

Kind = Literal["send", "set", "tag", "mark_read", "receive", "read_messages", "read_conversation"]
OperationOutcome = Literal["ok", "refused", "doubt"]
READS = frozenset({"read_messages", "read_conversation"})


class Operation(Struct, frozen=True, kw_only=True):
    client: str
    replica: str
    kind: Kind
    conversation: str
    begin: float
    end: float
    outcome: OperationOutcome
    position: int | None = None  # the offset in the answer to a write
    presented: int | None = None  # the highest offset of this conversation's partition that a read presented
    key: str = ""  # "send": the idempotency key; "set": the name
    value: str = ""  # "send": the text; "set": the value; "tag": the tag's id
    message_id: str = ""  # "send": of the answer; "receive": of the message
    messages: tuple[str, ...] = ()  # what "read_messages" showed
    data: dict[str, str] = {}  # what "read_conversation" showed: values by name
    tags: tuple[str, ...] = ()
    unread: int = 0
    final: bool = False  # a read after all other operations


def violations(history: Iterable[Operation]) -> list[str]:
    """Descriptions of everything that contradicts the rules."""
    conversations: dict[str, list[Operation]] = defaultdict(list)
    for one in history:
        conversations[one.conversation].append(one)
    found: list[str] = []
    for name, operations in sorted(conversations.items()):
        operations.sort(key=lambda one: (one.begin, one.end))
        writes = [one for one in operations if one.kind not in READS and one.outcome != "refused"]
        reads = [one for one in operations if one.kind in READS and one.outcome == "ok"]
        for check in (_real_time(writes), _keys(operations), _reads(writes, reads), _finals(reads)):
            found += [f"{name}: {line}" for line in check]
    return found


def _real_time(writes: Sequence[Operation]) -> Iterator[str]:
    placed = [one for one in writes if one.position is not None]
    taken = Counter(one.position for one in placed)
    yield from (f"{count} writes have the position {position}" for position, count in taken.items() if count > 1)
    for late in placed:
        for early in placed:
            if early.end < late.begin and (early.position or 0) >= (late.position or 0):
                yield f"{_name(late)} at {late.position} began after {_name(early)} at {early.position} had ended"


def _keys(operations: Sequence[Operation]) -> Iterator[str]:
    sends: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.kind == "send" and one.outcome == "ok":
            sends[one.key].append(one)
    for key, same in sends.items():
        if len({one.message_id for one in same}) > 1:
            yield f"key {key} became several messages"
        if len({one.value for one in same}) > 1:
            yield f"key {key} was accepted with several contents"


def _finals(reads: Sequence[Operation]) -> Iterator[str]:
    for kind in sorted(READS):
        last = [one for one in reads if one.final and one.kind == kind]
        if len({(one.messages, tuple(sorted(one.data.items())), one.tags, one.unread) for one in last}) > 1:
            yield f"replicas differ in the end: {kind}"


class _Effect(Struct):
    """Something a read can show, and the offset at which it takes effect; `at` None: unknown."""

    name: str
    register: str  # "" for what is added and stays
    begun: float
    at: int | None


def _effects(writes: Sequence[Operation]) -> dict[str, _Effect]:
    """Keyed by what a read shows. A send tried several times takes effect at the first, whose offset may be unknown."""
    effects: dict[str, _Effect] = {}
    groups: dict[str, list[Operation]] = defaultdict(list)
    for one in writes:
        if one.kind == "set":
            effects[f"set {one.key}={one.value}"] = _Effect(_name(one), one.key, one.begin, one.position)
        elif one.kind == "tag":
            effects[f"tag {one.value}"] = _Effect(_name(one), "", one.begin, one.position)
        elif one.kind == "receive":
            effects[f"message {one.message_id}"] = _Effect(_name(one), "", one.begin, one.position)
        elif one.kind == "send":
            groups[one.key].append(one)
    for same in groups.values():
        if known := next((one.message_id for one in same if one.message_id), ""):
            sure = all(one.position is not None for one in same)
            at = min(one.position or 0 for one in same) if sure else None
            effects[f"message {known}"] = _Effect(_name(same[0]), "", min(one.begin for one in same), at)
    return effects


def _reads(writes: Sequence[Operation], reads: Sequence[Operation]) -> Iterator[str]:
    effects = _effects(writes)
    unnamed = any(
        one.kind == "send" and not any(other.message_id for other in writes if other.key == one.key) for one in writes
    )
    newest: list[tuple[float, str, int]] = []  # end, replica, and the offset up to which that read had everything
    for read in reads:
        shown, phantoms = _shown(read, effects)
        if not unnamed:
            yield from (f"{_name(read)} shows {phantom}, which no client wrote" for phantom in phantoms)
        for one in shown:
            if one.begun > read.end:
                yield f"{_name(read)} shows {one.name}, which began later"
        if len(set(read.messages)) < len(read.messages):
            yield f"{_name(read)} shows a message twice"
        least = max(
            -1 if read.presented is None else read.presented,
            *(
                one.position
                for one in writes
                if one.replica == read.replica
                and one.outcome == "ok"
                and one.end < read.begin
                and one.position is not None
            ),
            *(at for end, replica, at in newest if replica == read.replica and end < read.begin),
            -1,
        )
        seen = max((one.at for one in shown if one.at is not None), default=-1)
        bound = max(least, seen)
        newest.append((read.end, read.replica, bound))
        yield from _missing(read, effects, shown, least, seen)
        if read.kind == "read_conversation":
            yield from _unread(read, writes, bound)


def _shown(read: Operation, effects: dict[str, _Effect]) -> tuple[list[_Effect], list[str]]:
    if read.kind == "read_messages":
        names = [f"message {one}" for one in read.messages]
    else:
        names = [f"set {name}={value}" for name, value in read.data.items()] + [f"tag {one}" for one in read.tags]
    return [effects[name] for name in names if name in effects], [name for name in names if name not in effects]


def _missing(
    read: Operation, effects: dict[str, _Effect], shown: Sequence[_Effect], least: int, seen: int
) -> Iterator[str]:
    registers = {one.register: one for one in shown if one.register}
    about = ("message ",) if read.kind == "read_messages" else ("set ", "tag ")
    for name, one in effects.items():
        if one.at is None or not name.startswith(about) or one.at > max(least, seen):
            continue
        why = f"below {least}" if one.at <= least else f"before what it shows at {seen}"
        if not one.register:
            if one not in shown:
                yield f"{_name(read)} misses {one.name} at {one.at}, {why}"
        elif one.register not in registers:
            yield f"{_name(read)} shows no {one.register}, and {one.name} is at {one.at}, {why}"
        elif (at := registers[one.register].at) is not None and at < one.at:
            yield f"{_name(read)} shows {registers[one.register].name} at {at} instead of {one.name} at {one.at}, {why}"


def _unread(read: Operation, writes: Sequence[Operation], bound: int) -> Iterator[str]:
    counted = [one for one in writes if one.kind in ("receive", "mark_read")]
    if any(one.position is None for one in counted):
        return
    possible, count, last = set(), 0, -1
    for one in sorted(counted, key=lambda one: one.position or 0):
        if (one.position or 0) > bound:
            possible.add(count)
            if one.begin > read.end:
                break
        count = 0 if one.kind == "mark_read" else count + 1
        last = one.position or 0
    else:
        possible.add(count)
    if read.unread not in possible:
        yield f"{_name(read)} counts {read.unread} unread; after {bound} (of {last}) it could be {sorted(possible)}"


def _name(one: Operation) -> str:
    what = " ".join(part for part in (one.kind, one.key, one.value) if part)
    end = "…" if one.end == inf else f"{one.end:.3f}"
    return f"{what} of {one.client} at {one.replica} ({one.begin:.3f}-{end})"
