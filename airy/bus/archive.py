"""The log as one file: what `airy log export` writes and `airy log import` reads. Pure: bytes in, bytes out.

Lines of JSON, so that people can look into it. The first says what it is and which topics it holds; then come blocks
of records, partition by partition in the order of the head; then the positions of consumer groups; then an end with
totals. Each block's line holds the SHA-256 of the block and of everything before it, so a file that was cut, altered
or put together differently is noticed at the first block that is wrong.

Nothing here depends on a backend: no offsets, but ordinals, the number of records of the partition before. Where
blocks end depends on the records alone, so the same log makes the same bytes wherever it was kept.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from airy.bus.record import Emit, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

VERSION: Final = 1
BLOCK_RECORDS_MAX: Final = 500
BLOCK_BYTES_MAX: Final = 1_048_576  # of records as lines; the one that goes beyond it is the block's last
READ_BYTES_MAX: Final = 67_108_864  # what a block may claim: far more than a record can take
LINE_BYTES_MAX: Final = 1_048_576  # of every line that is no record


class Damaged(Refused):
    """The file is not what an export wrote. Nothing of it should be used."""


class Source(Protocol):
    """What an archive is read from: a file opened for bytes."""

    def readline(self, size: int, /) -> bytes: ...
    def read(self, size: int, /) -> bytes: ...


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic, as far as moving it is concerned."""

    name: str
    partitions: int


class Head(Struct, frozen=True, forbid_unknown_fields=True):
    airy_log: int = field(name="airy-log")
    topics: tuple[Shape, ...]


class Entry(Struct, frozen=True, gc=False):
    """A record without its place."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    def emit(self, where: TopicPartition) -> Emit:
        return Emit(*where, self.key, self.value, self.headers, self.timestamp_ms)


def entry_of(record: Record) -> Entry:
    return Entry(record.key, record.value, record.headers, record.timestamp_ms)


class Block(Struct, frozen=True, gc=False):
    """Records of one partition, one after the other; `first` is the ordinal of the first."""

    where: TopicPartition
    first: int
    entries: list[Entry]


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """What a consumer group committed: it has dealt with so many records of the partition."""

    group: str
    topic: str
    partition: int
    ordinal: int

    @property
    def where(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class End(Struct, frozen=True, forbid_unknown_fields=True):
    records: int
    places: int
    sha256: str  # of everything before


Part = Head | Block | Place | End


# --- lines


class _BlockLine(Struct, frozen=True, forbid_unknown_fields=True):
    topic: str
    partition: int
    first: int
    records: int
    bytes: int
    sha256: str


class _Kind(Struct, frozen=True):
    airy_log: int = field(name="airy-log")


class _PlaceLine(Struct, frozen=True, forbid_unknown_fields=True):
    place: Place


class _EndLine(Struct, frozen=True, forbid_unknown_fields=True):
    end: End


Text = str | dict[str, str]
"""Bytes as JSON: a text, or {"base64": …} where they are none."""


class _Line(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    at: int
    key: Text
    value: Text | None
    headers: list[tuple[str, Text]] = []


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(_Line).decode
_BASE64 = "base64"
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Base64Error, KeyError)


def _text(data: bytes) -> Text:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {_BASE64: b64encode(data).decode()}


def _bytes(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode()
    return b64decode(text[_BASE64], validate=True)


def _line_of(entry: Entry) -> bytes:
    value = None if entry.value is None else _text(entry.value)
    headers = [(name, _text(content)) for name, content in entry.headers]
    return _encode(_Line(entry.timestamp_ms, _text(entry.key), value, headers)) + b"\n"


def _entry_of(line: bytes) -> Entry:
    held = _decode_line(line)
    value = None if held.value is None else _bytes(held.value)
    headers = tuple((name, _bytes(content)) for name, content in held.headers)
    return Entry(_bytes(held.key), value, headers, held.at)


# --- writing


class ArchiveWriter:
    """Told everything in order, returns the bytes to write next; holds at most one block."""

    def __init__(self, topics: Sequence[Topic[Any]]) -> None:
        self.records = 0
        self.places = 0
        self._shapes = tuple(Shape(topic.name, topic.partitions) for topic in topics)
        self.sha256 = ""  # of everything, once it has its end
        self._chain = sha256()
        self._lines: list[bytes] = []
        self._size = 0
        self._first = 0
        self._where: TopicPartition | None = None

    def head(self) -> bytes:
        return self._chained(_encode(Head(VERSION, self._shapes)) + b"\n")

    def add(self, where: TopicPartition, entry: Entry) -> bytes:
        """Partitions come one after the other, as the head has them."""
        done = b""
        if where != self._where:
            done = self._block()
            self._where, self._first = where, 0
        line = _line_of(entry)
        self._lines.append(line)
        self._size += len(line)
        self.records += 1
        if len(self._lines) >= BLOCK_RECORDS_MAX or self._size >= BLOCK_BYTES_MAX:
            done += self._block()
        return done

    def place(self, place: Place) -> bytes:
        """After the last record."""
        self.places += 1
        return self._block() + self._chained(_encode(_PlaceLine(place)) + b"\n")

    def end(self) -> bytes:
        rest = self._block()
        self.sha256 = self._chain.hexdigest()
        return rest + _encode(_EndLine(End(self.records, self.places, self.sha256))) + b"\n"

    def _block(self) -> bytes:
        if not self._lines or self._where is None:
            return b""
        body = b"".join(self._lines)
        self._chain.update(body)
        topic, partition = self._where
        digest = self._chain.hexdigest()
        line = _encode(_BlockLine(topic, partition, self._first, len(self._lines), len(body), digest)) + b"\n"
        self._chain.update(line)
        self._first += len(self._lines)
        self._lines, self._size = [], 0
        return line + body

    def _chained(self, line: bytes) -> bytes:
        self._chain.update(line)
        return line


# --- reading


def read_archive(source: Source) -> Iterator[Part]:
    """A head, blocks, places and an end, each checked before it is given out. Raises `Damaged`."""
    return _Reading(source).parts()


class _Reading:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._chain = sha256()
        self._at = 0  # the byte a part begins at, for people
        self._rank: dict[TopicPartition, int] = {}  # in the order of the head
        self._reached = 0  # the rank of the last block
        self._held: dict[TopicPartition, int] = {}  # records, so far
        self._records = self._places = 0

    def parts(self) -> Iterator[Part]:
        head = self._head()
        yield head
        while True:
            part = self._part(self._line())
            if isinstance(part, End) and self._source.read(1):
                raise self._damaged("there is something behind its end")
            yield part
            if isinstance(part, End):
                return

    def _head(self) -> Head:
        line = self._line()
        try:
            version = msgspec.json.decode(line, type=_Kind).airy_log
            if version != VERSION:
                text = f"the archive is of version {version}, this Airy reads {VERSION}"
                raise Damaged(f"{text}: use the Airy that wrote it")
            head = msgspec.json.decode(line, type=Head)
        except _UNREADABLE as error:
            raise Damaged("this is no archive of a log: `airy log export` makes one") from error
        order = [TopicPartition(shape.name, number) for shape in head.topics for number in range(shape.partitions)]
        self._rank = {where: rank for rank, where in enumerate(order)}
        self._chain.update(line)
        return head

    def _part(self, line: bytes) -> Part:
        try:
            held = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "place" in held:
                return self._place(line)
            if "end" in held:
                return self._end(line)
            return self._block(line)
        except _UNREADABLE as error:
            raise self._damaged(f"a line cannot be read: {error}") from error

    def _block(self, line: bytes) -> Block:
        told = msgspec.json.decode(line, type=_BlockLine)
        where = TopicPartition(told.topic, told.partition)
        rank = self._rank.get(where, -1)
        first = self._held.get(where, 0)
        if rank < self._reached or told.first != first or self._places:
            raise self._damaged(f"records of {where.topic}[{where.partition}] are missing, or not where they belong")
        if not 0 < told.bytes <= READ_BYTES_MAX:
            raise self._damaged(f"a block claims {told.bytes} bytes")
        body = self._source.read(told.bytes)
        if len(body) < told.bytes:
            raise self._damaged("it ends in the middle of a block, it was cut")
        self._chain.update(body)
        if self._chain.hexdigest() != told.sha256:
            raise self._damaged(f"{where.topic}[{where.partition}] was altered from record {first} on")
        self._chain.update(line)
        entries = [_entry_of(each) for each in body.split(b"\n")[:-1]]
        if len(entries) != told.records:
            raise self._damaged(f"a block has {len(entries)} records, not {told.records}")
        self._reached = rank
        self._held[where] = first + len(entries)
        self._records += len(entries)
        self._at += len(body)
        return Block(where, first, entries)

    def _place(self, line: bytes) -> Place:
        place = msgspec.json.decode(line, type=_PlaceLine).place
        if place.where not in self._rank or not 0 <= place.ordinal <= self._held.get(place.where, 0):
            text = f"{place.group} cannot be at record {place.ordinal} of {place.topic}[{place.partition}]"
            raise self._damaged(text)
        self._chain.update(line)
        self._places += 1
        return place

    def _end(self, line: bytes) -> End:
        end = msgspec.json.decode(line, type=_EndLine).end
        if (end.records, end.places) != (self._records, self._places):
            raise self._damaged(f"it holds {self._records} records and {self._places} places, and claims others")
        if end.sha256 != self._chain.hexdigest():
            raise self._damaged("its end belongs to another export, or something before it was altered")
        return end

    def _line(self) -> bytes:
        line = self._source.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise self._damaged("a line is too long" if len(line) >= LINE_BYTES_MAX else "it has no end: it was cut")
        self._at += len(line)
        return line

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"the archive is damaged near byte {self._at}: {what}; nothing more of it is used, export again")
