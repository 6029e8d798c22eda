"""The file format of `airy log export` and `airy log import`. Pure: bytes in, bytes out.

Lines of JSON, readable without a tool. The first is a header with the topics; then come blocks of records, partition
by partition in the order of the header; then the positions of consumer groups; then an end with totals. The line of a
block holds the SHA-256 of the block and everything before it, so a file that was truncated, altered or reordered is
detected at the first wrong block.

Independent of the backend: instead of offsets it holds ordinals, the number of earlier records of the partition. Block
boundaries depend on the records alone, so the same log produces the same bytes from every backend.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from airy.bus.record import ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused

VERSION: Final = 1
BLOCK_RECORDS_MAX: Final = 500
BLOCK_BYTES_MAX: Final = 1_048_576  # of encoded records; the one that exceeds it is the last of its block
READ_BYTES_MAX: Final = 67_108_864  # the largest block that is accepted: much more than a record can take
LINE_BYTES_MAX: Final = 1_048_576  # of every line except records


class ArchiveDamaged(Refused):
    """The file is not as an export wrote it. Its content must not be used."""


class ByteSource(Protocol):
    """A file opened for reading bytes."""

    def readline(self, size: int, /) -> bytes: ...
    def read(self, size: int, /) -> bytes: ...


class ArchivedTopic(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    partitions: int


class ArchiveHeader(Struct, frozen=True, forbid_unknown_fields=True):
    airy_log: int = field(name="airy-log")
    topics: tuple[ArchivedTopic, ...]


class ArchivedRecord(Struct, frozen=True, gc=False):
    """A record without its position."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    def producer_record(self, tp: TopicPartition) -> ProducerRecord:
        return ProducerRecord(*tp, self.key, self.value, self.headers, self.timestamp_ms)


def archived_record(record: Record) -> ArchivedRecord:
    return ArchivedRecord(record.key, record.value, record.headers, record.timestamp_ms)


class RecordBlock(Struct, frozen=True, gc=False):
    """Consecutive records of one partition; `first` is the ordinal of the first."""

    topic_partition: TopicPartition
    first: int
    entries: list[ArchivedRecord]


class GroupOrdinal(Struct, frozen=True, forbid_unknown_fields=True):
    """A committed position: the number of records of the partition the group has processed."""

    group: str
    topic: str
    partition: int
    ordinal: int

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class ArchiveEnd(Struct, frozen=True, forbid_unknown_fields=True):
    records: int
    group_ordinals: int = field(name="places")
    sha256: str  # of everything before


ArchivePart = ArchiveHeader | RecordBlock | GroupOrdinal | ArchiveEnd


# --- lines


class _BlockLine(Struct, frozen=True, forbid_unknown_fields=True):
    topic: str
    partition: int
    first: int
    records: int
    bytes: int
    sha256: str


class _Version(Struct, frozen=True):
    airy_log: int = field(name="airy-log")


class _GroupOrdinalLine(Struct, frozen=True, forbid_unknown_fields=True):
    group_ordinal: GroupOrdinal = field(name="place")


class _EndLine(Struct, frozen=True, forbid_unknown_fields=True):
    end: ArchiveEnd


Text = str | dict[str, str]
"""Bytes as JSON: a string, or {"base64": …} when they are not UTF-8."""


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


def _line_of(entry: ArchivedRecord) -> bytes:
    value = None if entry.value is None else _text(entry.value)
    headers = [(name, _text(content)) for name, content in entry.headers]
    return _encode(_Line(entry.timestamp_ms, _text(entry.key), value, headers)) + b"\n"


def _entry_of(line: bytes) -> ArchivedRecord:
    held = _decode_line(line)
    value = None if held.value is None else _bytes(held.value)
    headers = tuple((name, _bytes(content)) for name, content in held.headers)
    return ArchivedRecord(_bytes(held.key), value, headers, held.at)


# --- writing


class ArchiveWriter:
    """Takes everything in file order and returns the bytes to write; holds at most one block."""

    def __init__(self, topics: Sequence[Topic[Any]]) -> None:
        self.records = 0
        self.group_ordinals = 0
        self._topics = tuple(ArchivedTopic(topic.name, topic.partitions) for topic in topics)
        self.sha256 = ""  # of everything; set by `end`
        self._chain = sha256()
        self._lines: list[bytes] = []
        self._size = 0
        self._first = 0
        self._topic_partition: TopicPartition | None = None

    def header(self) -> bytes:
        return self._chained(_encode(ArchiveHeader(VERSION, self._topics)) + b"\n")

    def add(self, tp: TopicPartition, entry: ArchivedRecord) -> bytes:
        """Partitions must come one after the other, in the order of the header."""
        done = b""
        if tp != self._topic_partition:
            done = self._block()
            self._topic_partition, self._first = tp, 0
        line = _line_of(entry)
        self._lines.append(line)
        self._size += len(line)
        self.records += 1
        if len(self._lines) >= BLOCK_RECORDS_MAX or self._size >= BLOCK_BYTES_MAX:
            done += self._block()
        return done

    def add_group_ordinal(self, ordinal: GroupOrdinal) -> bytes:
        """Call after the last record."""
        self.group_ordinals += 1
        return self._block() + self._chained(_encode(_GroupOrdinalLine(ordinal)) + b"\n")

    def end(self) -> bytes:
        rest = self._block()
        self.sha256 = self._chain.hexdigest()
        return rest + _encode(_EndLine(ArchiveEnd(self.records, self.group_ordinals, self.sha256))) + b"\n"

    def _block(self) -> bytes:
        if not self._lines or self._topic_partition is None:
            return b""
        body = b"".join(self._lines)
        self._chain.update(body)
        topic, partition = self._topic_partition
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


def read_archive(source: ByteSource) -> Iterator[ArchivePart]:
    """Header, blocks, group ordinals and end, each verified before it is yielded. Raises `ArchiveDamaged`."""
    return _ArchiveReader(source).parts()


class _ArchiveReader:
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._chain = sha256()
        self._at = 0  # byte position of the current part, for error messages
        self._rank: dict[TopicPartition, int] = {}  # in the order of the header
        self._last_rank = 0  # rank of the last block
        self._counts: dict[TopicPartition, int] = {}  # records so far
        self._records = self._group_ordinals = 0

    def parts(self) -> Iterator[ArchivePart]:
        yield self._header()
        while True:
            part = self._part(self._line())
            if isinstance(part, ArchiveEnd) and self._source.read(1):
                raise self._damaged("there are bytes after its end")
            yield part
            if isinstance(part, ArchiveEnd):
                return

    def _header(self) -> ArchiveHeader:
        line = self._line()
        try:
            version = msgspec.json.decode(line, type=_Version).airy_log
            if version != VERSION:
                text = f"the archive has version {version}, this Airy reads {VERSION}"
                raise ArchiveDamaged(f"{text}: use the Airy that wrote it")
            header = msgspec.json.decode(line, type=ArchiveHeader)
        except _UNREADABLE as error:
            raise ArchiveDamaged("this is not an archive of a log: `airy log export` writes one") from error
        order = [TopicPartition(topic.name, number) for topic in header.topics for number in range(topic.partitions)]
        self._rank = {tp: rank for rank, tp in enumerate(order)}
        self._chain.update(line)
        return header

    def _part(self, line: bytes) -> ArchivePart:
        try:
            held = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "place" in held:
                return self._group_ordinal(line)
            if "end" in held:
                return self._end(line)
            return self._block(line)
        except _UNREADABLE as error:
            raise self._damaged(f"a line cannot be read: {error}") from error

    def _block(self, line: bytes) -> RecordBlock:
        claimed = msgspec.json.decode(line, type=_BlockLine)
        tp = TopicPartition(claimed.topic, claimed.partition)
        rank = self._rank.get(tp, -1)
        first = self._counts.get(tp, 0)
        if rank < self._last_rank or claimed.first != first or self._group_ordinals:
            raise self._damaged(f"records of {tp.topic}[{tp.partition}] are missing or out of order")
        if not 0 < claimed.bytes <= READ_BYTES_MAX:
            raise self._damaged(f"a block claims {claimed.bytes} bytes")
        body = self._source.read(claimed.bytes)
        if len(body) < claimed.bytes:
            raise self._damaged("it ends in the middle of a block: it was truncated")
        self._chain.update(body)
        if self._chain.hexdigest() != claimed.sha256:
            raise self._damaged(f"{tp.topic}[{tp.partition}] was altered from record {first} on")
        self._chain.update(line)
        entries = [_entry_of(each) for each in body.split(b"\n")[:-1]]
        if len(entries) != claimed.records:
            raise self._damaged(f"a block has {len(entries)} records, not {claimed.records}")
        self._last_rank = rank
        self._counts[tp] = first + len(entries)
        self._records += len(entries)
        self._at += len(body)
        return RecordBlock(tp, first, entries)

    def _group_ordinal(self, line: bytes) -> GroupOrdinal:
        ordinal = msgspec.json.decode(line, type=_GroupOrdinalLine).group_ordinal
        tp = ordinal.topic_partition
        if tp not in self._rank or not 0 <= ordinal.ordinal <= self._counts.get(tp, 0):
            text = f"{ordinal.group} cannot be at record {ordinal.ordinal} of {ordinal.topic}[{ordinal.partition}]"
            raise self._damaged(text)
        self._chain.update(line)
        self._group_ordinals += 1
        return ordinal

    def _end(self, line: bytes) -> ArchiveEnd:
        end = msgspec.json.decode(line, type=_EndLine).end
        if (end.records, end.group_ordinals) != (self._records, self._group_ordinals):
            raise self._damaged(
                f"it holds {self._records} records and {self._group_ordinals} group positions, its end says otherwise"
            )
        if end.sha256 != self._chain.hexdigest():
            raise self._damaged("its end belongs to another export, or something before it was altered")
        return end

    def _line(self) -> bytes:
        line = self._source.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise self._damaged(
                "a line is too long" if len(line) >= LINE_BYTES_MAX else "its last line has no end: it was truncated"
            )
        self._at += len(line)
        return line

    def _damaged(self, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(
            f"the archive is damaged near byte {self._at}: {what}; the rest is not used, export again"
        )
