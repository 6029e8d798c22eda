"""Kinds and versions of the values of a topic, in the headers `kind` and `v` of each record.

A reader that meets a kind or version it does not know cannot apply the record, and must not skip it: readers that know
it would apply it, and from there on both would number differently. It holds the partition instead.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from airy.bus.record import Headers, Position, Record
from airy.errors import Unavailable

KIND: Final = "kind"
VERSION: Final = "v"


class Hold(Struct, frozen=True):
    """A partition stops at `position`: its record is newer than this process."""

    position: Position
    kind: str
    version: int

    @property
    def reason(self) -> str:
        topic, partition, offset = self.position
        record = f'record kind "{self.kind}" version {self.version}'
        return (
            f"partition {topic}/{partition} is held at offset {offset}: {record} is newer than this process; upgrade it"
        )


class PartitionHeld(Unavailable):
    """A partition whose state is needed is held."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold.reason, retry_after_s=30.0)
        self.hold = hold


class RecordSchema:
    """`kinds`: for each type of value, its kind and the version that is written. A reader knows that version and all
    lower ones; a version is raised when readers of the one before would apply its records wrongly.
    """

    def __init__(self, kinds: Mapping[type, tuple[str, int]]) -> None:
        self._kinds = dict(kinds)
        self._headers: dict[type, Headers] = {
            value_type: ((KIND, kind.encode()), (VERSION, b"%d" % version))
            for value_type, (kind, version) in kinds.items()
        }
        self._versions = {kind.encode(): version for kind, version in kinds.values()}
        self._readable: set[tuple[bytes, bytes]] = set()  # pairs of headers that were judged before

    def without(self, *kinds: str) -> "RecordSchema":
        """The schema of a version that does not know these kinds."""
        return RecordSchema({value_type: known for value_type, known in self._kinds.items() if known[0] not in kinds})

    def headers(self, value: object) -> Headers:
        """Of a record with this value. A tombstone has the kind of its topic, if there is only one."""
        if value is not None:
            return self._headers[type(value)]
        return next(iter(self._headers.values())) if len(self._headers) == 1 else ()

    def hold(self, record: Record) -> Hold | None:
        """Why the record cannot be read; None: it can. Records without these headers are older than the headers."""
        kind = version = b""
        for name, value in record.headers:
            if name == KIND:
                kind = value
            elif name == VERSION:
                version = value
        if not kind or (kind, version) in self._readable:
            return None
        number = int(version) if version.isdigit() else 1
        if number <= self._versions.get(kind, 0):
            self._readable.add((kind, version))
            return None
        return Hold(record.position, kind.decode("utf-8", "replace"), number)
