"""Names and encodings: what the queue's keys are called, positions as stream ids, entries as bytes.

All keys of a shard share a hash tag, so in a cluster they are on one node and one script can have them all.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from airy.actors.webhooks.queue import NOTHING, Entry, EntryId, Shard


class Names:
    """`namespace` keeps several installations apart in one Redis."""

    def __init__(self, namespace: str) -> None:
        self._root = namespace or "airy"
        self.shards = f"{{{self._root}}}:shards"  # which shards there are
        self.generation = f"{{{self._root}}}:generation"  # told apart from a Redis that lost everything
        self.arrivals = f"{self._root}:arrivals"  # a channel
        self.patterns = (f"{{{self._root}}}:*", f"{{{self._root}:*")  # of all keys, as access lists have them

    def base(self, shard: Shard) -> str:
        return f"{{{self._root}:{shard.topic}/{shard.partition}}}"

    def failing(self, webhook_id: str) -> str:
        return f"{{{self._root}:webhook:{webhook_id}}}:failing"


def shard_name(shard: Shard) -> str:
    return f"{shard.topic}/{shard.partition}"


def shard_named(name: bytes) -> Shard:
    topic, _, partition = name.decode().rpartition("/")
    return Shard(topic, int(partition))


def stream_id(id_: EntryId) -> str:
    """0-0 is a stream that never had an entry, so `nth` counts from 1."""
    return "0-0" if id_ == NOTHING else f"{id_[0]}-{id_[1] + 1}"


def entry_id(text: bytes) -> EntryId:
    offset, _, nth = text.partition(b"-")
    return NOTHING if text == b"0-0" else (int(offset), int(nth) - 1)


class _Packed(Struct, frozen=True, array_like=True, gc=False):
    """An entry but for its webhooks."""

    offset: int
    nth: int
    lane: str
    event_id: str
    kind: str
    body: bytes
    at_ms: int
    position: str
    trace: str = ""


_encode = msgspec.msgpack.Encoder().encode
_packed = msgspec.msgpack.Decoder(_Packed).decode


def pack(entry: Entry) -> bytes:
    return _encode(
        _Packed(*entry.id, entry.lane, entry.event_id, entry.kind, entry.body, entry.at_ms, entry.position, entry.trace)
    )


def unpack(data: bytes, webhook_id: str) -> Entry:
    one = _packed(data)
    return Entry(
        (one.offset, one.nth),
        (webhook_id,),
        one.lane,
        one.event_id,
        one.kind,
        one.body,
        one.at_ms,
        one.position,
        one.trace,
    )


def lane_key(entry: Entry) -> str:
    """A zero byte ends a lane in the keys; two lanes that differ in nothing else wait for each other."""
    return entry.lane.replace("\0", "\1")


class Token(NamedTuple):
    """Whose lease it is, and where the job is."""

    lease: str
    seq: str
    shard: Shard

    def text(self, webhook_id: str) -> str:
        """Of one job: an entry's other webhooks may have the same lease."""
        return f"{self.lease}|{self.seq}|{self.shard.partition}|{self.shard.topic}|{webhook_id}"


def token_of(text: str) -> Token:
    lease, seq, partition, topic, _ = text.split("|", 4)
    return Token(lease, seq, Shard(topic, int(partition)))
