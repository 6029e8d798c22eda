"""Checks histories of clients that write entities through several API replicas. Pure: operations in, violations out.

Input: one `EntityOperation` per HTTP request, in any order. Times are seconds of one clock that all clients share. A
write is placed by the offset in its `x-airy-position`. A request without a response, or with a 5xx, is in `doubt`: it
may have been applied at any time after it began, or never. A refused request (4xx) was not applied.

An entity is a set of fields. `put` creates or replaces it, `update` sets some fields, `delete` ends it. What is
checked, for each entity:

- no lost update: a read shows for every field the value of the latest write it must have seen, so no write is undone by
  one that was made on an older version;
- no phantom: a read shows no value that no client wrote, that was refused, or that was written after the read;
- existence: a deleted entity is not shown and is not updated, and a `put` that must create does not replace one;
- real time: of two writes that do not overlap, the later has the higher offset;
- lower bound: a read contains every write at or below the positions it presented, every write that its own replica
  answered before the read began, and everything an earlier read of that replica showed;
- the end: final reads of all replicas are equal.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Literal

from msgspec import Struct

from tests.sim.history import OperationOutcome

Kind = Literal["put", "update", "delete", "read"]
Fields = Mapping[str, str | None]


class EntityOperation(Struct, frozen=True, kw_only=True):
    client: str
    replica: str
    kind: Kind
    entity: str
    begin: float
    end: float
    outcome: OperationOutcome
    position: int | None = None  # the offset in the answer to a write
    presented: int | None = None  # the highest offset of the entity's partition that a read presented
    fields: Fields = {}  # written, or shown
    exists: bool = True  # of a read
    creates: bool = False  # "put": the request is refused if the entity exists
    requires: bool = True  # "update", "delete": the request is refused if there is no entity
    clears: bool = True  # "delete": a later `put` does not bring the fields back
    final: bool = False  # a read after all other operations


def violations(history: Iterable[EntityOperation]) -> list[str]:
    """Descriptions of everything that contradicts the rules."""
    entities: dict[str, list[EntityOperation]] = defaultdict(list)
    for operation in history:
        entities[operation.entity].append(operation)
    found: list[str] = []
    for name, operations in sorted(entities.items()):
        found += [f"{name}: {line}" for line in _Entity(operations).violations()]
    return found


class _Entity:
    def __init__(self, operations: Sequence[EntityOperation]) -> None:
        operations = sorted(operations, key=lambda each: (each.begin, each.end))
        self.reads = [each for each in operations if each.kind == "read" and each.outcome == "ok"]
        written = [each for each in operations if each.kind != "read" and each.outcome != "refused"]
        self.placed = sorted(
            (each for each in written if each.outcome == "ok" and each.position is not None),
            key=lambda each: each.position or 0,
        )
        self.doubtful = [each for each in written if each.outcome == "doubt"]
        self.names = sorted({name for each in written for name in each.fields})

    def violations(self) -> Iterator[str]:
        yield from self._real_time()
        yield from self._acceptance()
        shown: list[tuple[float, str, int]] = []  # end, replica, and the offset up to which a read had everything
        for read in self.reads:
            bound = self._bound(read, shown)
            shown.append((read.end, read.replica, bound))
            yield from self._existence(read, bound)
            if read.exists:
                for name in self.names:
                    yield from self._field(read, name, read.fields.get(name), bound)
        finals = [each for each in self.reads if each.final]
        if len({(each.exists, tuple(sorted(each.fields.items()))) for each in finals}) > 1:
            yield "replicas differ in the end"

    def _real_time(self) -> Iterator[str]:
        for early, late in ((one, other) for one in self.placed for other in self.placed):
            if early.end < late.begin and _at(early) >= _at(late):
                yield f"{_name(late)} at {_at(late)} began after {_name(early)} at {_at(early)} had ended"

    def _acceptance(self) -> Iterator[str]:
        """Whether each accepted write was possible in the state that the writes before it left."""
        exists = False
        for write in self.placed:
            if write.kind != "put" and write.requires and not exists and not self._in_doubt("put"):
                yield f"{_name(write)} at {_at(write)} was accepted, and there was no entity"
            if write.creates and exists and not self._in_doubt("delete"):
                yield f"{_name(write)} at {_at(write)} was accepted, and there was an entity already"
            exists = _lives(write) or (exists and write.kind == "update")

    def _in_doubt(self, *kinds: Kind, before: float = inf) -> bool:
        return any(each.kind in kinds and each.begin <= before for each in self.doubtful)

    def _bound(self, read: EntityOperation, shown: Sequence[tuple[float, str, int]]) -> int:
        """The offset up to which the read must contain every write."""
        own = [_at(each) for each in self.placed if each.replica == read.replica and each.end < read.begin]
        earlier = [bound for end, replica, bound in shown if replica == read.replica and end < read.begin]
        visible = []
        for name, value in read.fields.items():
            writers = [each for each in (*self.placed, *self.doubtful) if each.fields.get(name) == value]
            if len(writers) == 1 and writers[0].outcome == "ok":
                visible.append(_at(writers[0]))
        return max([-1 if read.presented is None else read.presented, *own, *earlier, *visible])

    def _existence(self, read: EntityOperation, bound: int) -> Iterator[str]:
        ends = [each for each in self.placed if each.kind == "delete" and each.begin <= read.end]
        lives = [each for each in self.placed if _lives(each) and each.begin <= read.end]
        if read.exists:
            if not lives and not self._in_doubt("put", before=read.end):
                yield f"{_name(read)} shows an entity that no client created"
            seen = [_at(each) for each in ends if _at(each) <= bound]
            again = seen and any(_at(each) > max(seen) for each in lives)
            if seen and not again and not self._in_doubt("put", before=read.end):
                yield f"{_name(read)} shows the entity that was deleted at {max(seen)}, below {bound}"
            return
        seen = [_at(each) for each in lives if _at(each) <= bound]
        ended = seen and any(_at(each) > max(seen) for each in ends)
        if seen and not ended and not self._in_doubt("delete", before=read.end):
            yield f"{_name(read)} shows no entity, and there is one since {max(seen)}, below {bound}"

    def _field(self, read: EntityOperation, name: str, value: str | None, bound: int) -> Iterator[str]:
        """A value stands if some write of it is not followed by another write of the field that the read must show."""
        overwriting = [each for each in self.placed if _at(each) <= bound and _sets(each, name, value)]
        latest = max((_at(each) for each in overwriting), default=-1)
        if value is None:
            blank = -1 if self._cleared_in_doubt(read) else max(self._clearings(bound), default=-1)
            if latest > blank and not self._cleared_in_doubt(read):
                yield f"{_name(read)} shows no {name}, and it was written at {latest}, below {bound}"
            return
        writers = [each for each in (*self.placed, *self.doubtful) if each.fields.get(name) == value]
        possible = [each for each in writers if each.begin <= read.end]
        if not possible:
            when = "after the read" if writers else "by no client, or by a refused request"
            yield f"{_name(read)} shows {name}={value}, written {when}"
        elif all(each.outcome == "ok" and _at(each) < latest for each in possible):
            undone = next(each for each in overwriting if _at(each) == latest)
            yield (
                f"{_name(read)} shows {name}={value} of {_at(possible[-1])}, and not {_name(undone)} at {latest}, "
                f"below {bound}: the update was lost"
            )

    def _clearings(self, bound: int) -> list[int]:
        return [_at(each) for each in self.placed if each.kind == "delete" and each.clears and _at(each) <= bound]

    def _cleared_in_doubt(self, read: EntityOperation) -> bool:
        return any(each.kind == "delete" and each.clears and each.begin <= read.end for each in self.doubtful)


def _lives(write: EntityOperation) -> bool:
    """Whether the entity exists after the write, whatever was before."""
    return write.kind == "put" or (write.kind == "update" and write.requires)


def _sets(write: EntityOperation, name: str, value: str | None) -> bool:
    """Whether the write gives the field another value."""
    if write.kind == "delete":
        return write.clears and value is not None
    return name in write.fields and write.fields[name] != value


def _at(operation: EntityOperation) -> int:
    return -1 if operation.position is None else operation.position


def _name(operation: EntityOperation) -> str:
    what = " ".join((operation.kind, *(f"{name}={value}" for name, value in sorted(operation.fields.items()))))
    return f"{what} of {operation.client} at {operation.replica} ({operation.begin:.3f}-{operation.end:.3f})"
