"""Debian's `redis-server` on loopback: one, or a real Redis Cluster of masters, to be killed, paused and restarted.

    with RedisServer() as redis:
        connect(redis.url)
        redis.kill()
        redis.start()

The append-only file and the port survive. All methods block: async code calls them in a worker thread.
"""

import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.kit.servers.certificates import Authority
from tests.kit.servers.child import Child, NotStarted
from tests.kit.servers.missing import program
from tests.kit.servers.ports import HOST, Port

ANSWER_S = 60.0  # bounds a hang; a busy server responds late
SUSPECT_MS = 15_000  # cluster-node-timeout
SLOTS = 16384
MEMORY_MAX = "256mb"

Fsync = Literal["always", "everysec", "no"]
"""When the file is synced, which is nothing to a kill.

With `everysec` an answer may come before the write, while a sync takes long.
"""


class Tls:
    """TLS only: a certificate of `authority` for the server, and whether clients need one."""

    def __init__(self, authority: Authority, *, clients: bool = False) -> None:
        self.authority = authority
        self.clients = clients
        self._files = [str(path) for path in authority.issue("redis")]

    def options(self) -> dict[str, str]:
        certificate, key = self._files
        return {
            "tls-cert-file": certificate,
            "tls-key-file": key,
            "tls-ca-cert-file": str(self.authority.ca_file),
            "tls-auth-clients": "yes" if self.clients else "no",
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.ca_file)
        context.load_cert_chain(*self._files)
        return context


class RedisServer:
    """With `cluster_nodes`, `node` 0 … selects a node; a single server is node 0.

    A folder with data is reused, except for a cluster, whose data contains addresses.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        fsync: Fsync = "no",
        cluster_nodes: int = 0,
        cluster_spares: int = 0,
        port: int = 0,
        options: Sequence[str] = (),
        users: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        replica_of: "RedisServer | None" = None,
    ) -> None:
        """The last `cluster_spares` nodes have no slots. `users` maps names to ACL rules, in addition to
        `default`, which has all rights and is used by the kit.
        """
        self._given_folder = folder
        self._fsync = fsync
        self._clustered = cluster_nodes > 0
        self._masters = cluster_nodes
        self._count = cluster_nodes + cluster_spares or 1
        self._port = port
        self._options = options
        self._users = users or {}
        self._tls = tls
        self._replica_of = replica_of
        self._exits = ExitStack()
        self._ports: list[int] = []
        self._bus_ports: list[int] = []
        self._joined = False
        self._children: list[Child] = []
        self.folder = Path()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            redis = program("redis-server", "redis-server")
            self.folder = self._given_folder or Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
            exits.callback(self._end_all)
            for node in range(self._count):
                self._ports.append(exits.enter_context(Port(self._port + node if self._port else 0)).number)
                if self._clustered:
                    self._bus_ports.append(exits.enter_context(Port()).number)
                self._children.append(self._child(redis, node))
                self.start(node)
            if self._clustered:
                self._join()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @property
    def url(self) -> str:
        """Of the first node."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        return [self.url_of("", node) for node in range(self._count)]

    def url_of(self, who: str, node: int = 0) -> str:
        """`who`: USER:PASSWORD, or empty."""
        return f"redis{'s' if self._tls else ''}://{who}{'@' if who else ''}{HOST}:{self._ports[node]}/0"

    @property
    def ports(self) -> list[int]:
        return list(self._ports)

    @property
    def nodes(self) -> int:
        return self._count

    def pid(self, node: int = 0) -> int:
        return self._children[node].pid

    def log(self, node: int = 0) -> Path:
        return self._children[node].log

    def kill(self, node: int = 0) -> None:
        """SIGKILL. Acknowledged writes survive, synced or not."""
        self._children[node].kill()

    def stop(self, node: int = 0) -> None:
        """SIGTERM, and wait."""
        self._children[node].stop()

    def start(self, node: int = 0) -> None:
        """Start again after `kill` or `stop`; returns when it has loaded its data and joined the cluster."""
        child = self._children[node]
        child.start()
        child.until(lambda: self.ask("PING", node=node) == "+PONG", f"redis {node}")
        if self._replica_of is not None:
            child.until(self._linked, f"the link of redis {node} to its master")
        if self._joined and all(each.running for each in self._children):
            child.until(partial(self._agreed, node), f"the view of redis {node}")

    def promote(self) -> None:
        """Promote a replica."""
        self._told(0, "REPLICAOF", "NO", "ONE")

    def follow(self, other: "RedisServer") -> None:
        """Become a replica, and lose data the master does not have; returns at once."""
        self._told(0, "REPLICAOF", HOST, str(other.ports[0]))

    def pause(self, node: int = 0) -> None:
        """SIGSTOP."""
        self._children[node].pause()

    def resume(self, node: int = 0) -> None:
        """SIGCONT."""
        self._children[node].resume()

    def aof_files(self, node: int = 0) -> list[Path]:
        """The files of the append-only log, oldest first; the last is written to. Truncate only while it is down."""
        folder = self._folder(node) / "appendonlydir"
        manifest = folder / "appendonly.aof.manifest"
        lines = manifest.read_text().splitlines() if manifest.exists() else []
        return [folder / line.split()[1] for line in lines]

    def ask(self, *command: str, node: int = 0) -> str:
        """One command without a client library. Returns the raw reply without the final line end."""
        words = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
        with ExitStack() as exits:
            connection = exits.enter_context(socket.create_connection((HOST, self._ports[node]), timeout=ANSWER_S))
            if self._tls is not None:
                connection = exits.enter_context(self._tls.context().wrap_socket(connection, server_hostname=HOST))
            connection.sendall(f"*{len(command)}\r\n{words}".encode())
            return _answer(connection).decode(errors="replace")

    def _folder(self, node: int) -> Path:
        return self.folder / f"node-{node}"

    def _child(self, redis: str, node: int) -> Child:
        folder = self._folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(self._ports[node]),
            "bind": HOST,
            "dir": str(folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "daemonize": "no",
            "maxmemory": MEMORY_MAX,
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            "shutdown-timeout": "0",
        }
        if self._clustered:
            options |= {
                "cluster-enabled": "yes",
                "cluster-node-timeout": str(SUSPECT_MS),
                "cluster-port": str(self._bus_ports[node]),
                "cluster-config-file": "nodes.conf",
                "cluster-require-full-coverage": "no",
            }
        if self._users:
            users = folder / "users.acl"
            users.write_text("".join(f"user {name} on {rules}\n" for name, rules in self._users.items()))
            options["aclfile"] = str(users)
        if self._tls is not None:
            options |= {"port": "0", "tls-port": str(self._ports[node]), **self._tls.options()}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        if self._replica_of is not None:
            words += ["--replicaof", HOST, str(self._replica_of.ports[0])]
        return Child([redis, *words, *self._options], folder=folder, log=folder / "redis.log")

    def _join(self) -> None:
        """Assign the slots equally, let all nodes meet the first, and wait until all agree."""
        self._joined = True
        share = -(-SLOTS // self._masters)
        for node in range(self._count):
            if node < self._masters:
                first, last = node * share, min((node + 1) * share, SLOTS) - 1
                self._told(node, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            self._told(node, "CLUSTER", "SET-CONFIG-EPOCH", str(node + 1))
            if node:
                self._told(node, "CLUSTER", "MEET", HOST, str(self._ports[0]), str(self._bus_ports[0]))
        for node, child in enumerate(self._children):
            child.until(partial(self._agreed, node), f"the view of redis {node}")

    def _agreed(self, node: int) -> bool:
        said = set(self.ask("CLUSTER", "INFO", node=node).split("\r\n"))
        return {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{self._count}"} <= said

    def _linked(self) -> bool:
        return "master_link_status:up" in self.ask("INFO", "replication")

    def _told(self, node: int, *command: str) -> None:
        answer = self.ask(*command, node=node)
        if answer != "+OK":
            raise NotStarted(f"{' '.join(command)}: {answer}")

    def _end_all(self) -> None:
        for child in self._children:
            child.stop()


def _answer(connection: socket.socket) -> bytes:
    data = bytearray()
    while not _complete(data):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("redis hung up")
        data += chunk
    return bytes(data[:-2])


def _complete(data: bytearray) -> bool:
    """The value of a one-line or one-string reply."""
    head, end, rest = data.partition(b"\r\n")
    if not end:
        return False
    return len(rest) >= int(head[1:]) + 2 if head.startswith(b"$") and head != b"$-1" else True
