"""Key names and encodings: positions as stream ids, entries as bytes, lease tokens.

All keys of a shard share a hash tag, so in a cluster they are on one node and one script can access them all.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from airy.queue.api import NO_ENTRY, EntryId, QueueEntry, Shard


class KeyNames:
    """`namespace` separates several installations in one Redis."""

    def __init__(self, namespace: str) -> None:
        self._root = namespace or "airy"
        self.shards = f"{{{self._root}}}:shards"  # the set of shards
        self.generation = f"{{{self._root}}}:generation"  # changes when Redis loses everything
        self.arrivals = f"{self._root}:arrivals"  # a pub/sub channel
        self.patterns = (f"{{{self._root}}}:*", f"{{{self._root}:*")  # ACL patterns of all keys

    def base(self, shard: Shard) -> str:
        return f"{{{self._root}:{shard.topic}/{shard.partition}}}"

    def failure_streak(self, webhook_id: str) -> str:
        return f"{{{self._root}:webhook:{webhook_id}}}:failing"

    def attempts(self, webhook_id: str) -> str:
        return f"{{{self._root}:webhook:{webhook_id}}}:attempts"


def shard_name(shard: Shard) -> str:
    return f"{shard.topic}/{shard.partition}"


def parse_shard_name(name: bytes) -> Shard:
    topic, _, partition = name.decode().rpartition("/")
    return Shard(topic, int(partition))


def stream_id(id_: EntryId) -> str:
    """0-0 is a stream that never had an entry, so `nth` counts from 1."""
    return "0-0" if id_ == NO_ENTRY else f"{id_[0]}-{id_[1] + 1}"


def entry_id(text: bytes) -> EntryId:
    offset, _, nth = text.partition(b"-")
    return NO_ENTRY if text == b"0-0" else (int(offset), int(nth) - 1)


class _Packed(Struct, frozen=True, array_like=True, gc=False):
    """An entry without its webhooks."""

    offset: int
    nth: int
    lane: str
    event_id: str
    kind: str
    body: bytes
    at_ms: int
    position: str
    trace: str = ""
    queued_at_ms: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_packed = msgspec.msgpack.Decoder(_Packed).decode


def pack(entry: QueueEntry) -> bytes:
    return _encode(
        _Packed(
            *entry.id,
            entry.lane,
            entry.event_id,
            entry.kind,
            entry.body,
            entry.at_ms,
            entry.position,
            entry.trace,
            entry.queued_at_ms,
        )
    )


def unpack(data: bytes, webhook_id: str) -> QueueEntry:
    one = _packed(data)
    return QueueEntry(
        (one.offset, one.nth),
        (webhook_id,),
        one.lane,
        one.event_id,
        one.kind,
        one.body,
        one.at_ms,
        one.position,
        one.trace,
        one.queued_at_ms,
    )


def lane_key(entry: QueueEntry) -> str:
    """A zero byte ends a lane in the keys, so it is replaced; lanes that differ in that only are ordered as one."""
    return entry.lane.replace("\0", "\1")


class LeaseToken(NamedTuple):
    """The lease of a job and where the job is."""

    lease: str
    seq: str
    shard: Shard

    def text(self, webhook_id: str) -> str:
        """The token of one job: an entry's other webhooks may share the lease."""
        return f"{self.lease}|{self.seq}|{self.shard.partition}|{self.shard.topic}|{webhook_id}"


def parse_token(text: str) -> LeaseToken:
    lease, seq, partition, topic, _ = text.split("|", 4)
    return LeaseToken(lease, seq, Shard(topic, int(partition)))
