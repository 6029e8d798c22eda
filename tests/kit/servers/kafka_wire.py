"""One metadata request to a broker, without a client library: live brokers and partition leaders.

The kit must not examine a cluster with the client under test, and must not need an event loop.
"""

import socket
import struct
from dataclasses import dataclass, field

METADATA = 3
VERSION = 1
ANSWER_S = 60.0  # bounds a hang; a busy broker responds late
ANSWER_BYTES_MAX = 16_777_216


@dataclass(frozen=True)
class Partition:
    leader: int  # -1: none
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True)
class Metadata:
    nodes: frozenset[int]
    partitions: dict[tuple[str, int], Partition] = field(default_factory=dict)


def metadata(host: str, port: int) -> Metadata:
    """The metadata of the broker at this plain listener. Raises `OSError` without a response."""
    body = struct.pack(">hhih", METADATA, VERSION, 1, -1) + struct.pack(">i", -1)  # -1: every topic
    with socket.create_connection((host, port), timeout=ANSWER_S) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        size = struct.unpack(">i", _exactly(connection, 4))[0]
        if not 0 < size <= ANSWER_BYTES_MAX:
            raise ConnectionError(f"{host}:{port} does not speak Kafka")
        return _parsed(_Reader(_exactly(connection, size)))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the broker hung up")
        data += chunk
    return bytes(data)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, code: str) -> int:
        (number,) = struct.unpack_from(f">{code}", self._data, self._at)
        self._at += struct.calcsize(code)
        return int(number)

    def text(self) -> str:
        length = self.number("h")
        if length < 0:
            return ""
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def numbers(self) -> tuple[int, ...]:
        return tuple(self.number("i") for _ in range(self.number("i")))


def _parsed(reader: _Reader) -> Metadata:
    reader.number("i")  # correlation id
    nodes = set()
    for _ in range(reader.number("i")):
        nodes.add(reader.number("i"))
        reader.text(), reader.number("i"), reader.text()  # host, port, rack
    reader.number("i")  # controller
    partitions: dict[tuple[str, int], Partition] = {}
    for _ in range(reader.number("i")):
        reader.number("h")  # error of the topic
        topic = reader.text()
        reader.number("b")  # internal
        for _ in range(reader.number("i")):
            reader.number("h")  # error of the partition; the leader too reports 'no leader'
            index, leader = reader.number("i"), reader.number("i")
            partitions[topic, index] = Partition(leader, reader.numbers(), reader.numbers())
    return Metadata(frozenset(nodes), partitions)
