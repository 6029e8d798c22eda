"""Operations on a Redis Cluster in use: moving slots to other nodes, in the steps of `redis-cli --cluster reshard`, and
failover to a master's replica. All functions block.
"""

import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from tests.kit.servers.ports import HOST
from tests.kit.servers.redis import RedisServer

MIGRATE_MS = 5_000
LOOK_S = 0.02
LOOKS_MAX = 5_000
Client = Any


class Move:
    """Moves the slots of `source` with keys to `target` step by step, while the cluster is in use."""

    def __init__(self, server: RedisServer, source: int, target: int) -> None:
        self._server = server
        self._source, self._target = source, target
        self._slots: list[int] = []

    def begin(self) -> int:
        """The number of slots to move."""
        with client(self._server, self._source) as redis:
            self._slots = sorted({redis.execute_command("CLUSTER KEYSLOT", key) for key in redis.scan_iter()})
        for slot in self._slots:
            told(self._server, self._target, slot, "IMPORTING", node_id(self._server, self._source))
            told(self._server, self._source, slot, "MIGRATING", node_id(self._server, self._target))
        return len(self._slots)

    def carry(self, keys_max: int) -> int:
        """Moves at most so many keys of each slot. Returns the number moved."""
        carried = 0
        with client(self._server, self._source) as redis:
            for slot in self._slots:
                keys = redis.execute_command("CLUSTER GETKEYSINSLOT", slot, keys_max)
                if keys:
                    port = self._server.ports[self._target]
                    redis.execute_command("MIGRATE", HOST, port, "", 0, MIGRATE_MS, "KEYS", *keys)
                    carried += len(keys)
        return carried

    def end(self) -> None:
        while self.carry(100):
            pass
        nodes = [self._target, self._source, *range(self._server.nodes)]
        for slot in self._slots:
            for node in dict.fromkeys(nodes):
                told(self._server, node, slot, "NODE", node_id(self._server, self._target))


def follow(server: RedisServer, node: int, master: int) -> None:
    """Makes a spare node a replica and waits until it is in sync."""
    with client(server, node) as redis:
        redis.execute_command("CLUSTER REPLICATE", node_id(server, master))
        until(lambda: redis.info("replication")["master_link_status"] == "up")
    line = f"slave {node_id(server, master)}"
    until(lambda: all(line in server.ask("CLUSTER", "NODES", node=each) for each in range(server.nodes)))


def keys(server: RedisServer, node: int) -> int:
    """The number of slots of a node."""
    with client(server, node) as redis:
        return int(redis.dbsize())


def suspect_after(server: RedisServer, silent_ms: int) -> None:
    """Sets cluster-node-timeout. Only a fully connected cluster tolerates a short one."""
    for node in range(server.nodes):
        server.ask("CONFIG", "SET", "cluster-node-timeout", str(silent_ms), node=node)


def until(done: Callable[[], bool]) -> None:
    for _ in range(LOOKS_MAX):
        if done():
            return
        time.sleep(LOOK_S)
    raise AssertionError(f"not in {LOOKS_MAX} looks")


def client(server: RedisServer, node: int) -> Client:
    return Redis(host=HOST, port=server.ports[node])


def node_id(server: RedisServer, node: int) -> str:
    return server.ask("CLUSTER", "MYID", node=node).partition("\r\n")[2]


def told(server: RedisServer, node: int, slot: int, *words: str) -> None:
    answer = server.ask("CLUSTER", "SETSLOT", str(slot), *words, node=node)
    if answer != "+OK":
        raise AssertionError(f"slot {slot} {' '.join(words)}: {answer}")
