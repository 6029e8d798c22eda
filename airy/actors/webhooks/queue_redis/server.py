"""How to reach Redis: a value, and the clients it makes. One server, a cluster, or whichever of several servers the
sentinels call the master. Not here: what is asked, and what an error means.
"""

import ssl
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from airy.errors import Refused
from airy.secret import Secret

CONNECTIONS_MAX = 32
CONNECT_S = 3.0
SENTINEL_PORT = 26379

Node = tuple[str, int]
"""Host and port."""


class Server(Struct, frozen=True, kw_only=True):
    url: Secret  # with sentinels, the master's name is where the host is
    cluster: bool = False
    sentinels: tuple[str, ...] = ()  # host:port
    ca_file: str | None = None  # None: the system's
    cert_file: str | None = None  # ours, where the server asks for one
    key_file: str | None = None
    connect_s: float = CONNECT_S

    @property
    def tls(self) -> bool:
        return self.url.reveal().startswith("rediss://")

    def check(self) -> None:
        """Raises `Refused` for files that are of no use. The client would find out at each connection."""
        try:
            if self.tls:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file:
                    context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise Refused(
                f"the files of queue.redis are of no use ({error}): caFile is {self.ca_file}, certFile "
                f"{self.cert_file}, keyFile {self.key_file}; each is PEM, and has to be readable",
                field="queue.redis",
            ) from error

    def client(self, *, socket_s: float, call_s: float, nodes: Sequence[Node] = ()) -> Any:
        """Of a cluster, `nodes` are asked who has which slot, too: the one of the URL may be gone for good."""
        options = self._options(socket_s)
        url = self.url.reveal()
        if self.cluster:
            others = [ClusterNode(*node) for node in nodes]
            return RedisCluster.from_url(url, max_connections=CONNECTIONS_MAX, startup_nodes=others, **options)
        if self.sentinels:
            return self._master(options)
        return Redis.from_pool(
            BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS_MAX, timeout=call_s, **options)
        )

    def listener(self, *, socket_s: float, node: Node | None = None) -> Redis:
        """For a subscription; in a cluster any `node` will do."""
        options = self._options(socket_s)
        if self.sentinels:
            return self._master(options)
        listener: Redis = Redis.from_url(self.url.reveal(), **options)
        if node is not None:
            listener.connection_pool.connection_kwargs |= {"host": node[0], "port": node[1]}
        return listener

    def _options(self, socket_s: float) -> dict[str, Any]:
        """The client's own retries are off: an answer that is lost says nothing about the effect."""
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": socket_s,
            "socket_connect_timeout": self.connect_s,
            "protocol": 2,
            "driver_info": None,
        }
        if self.tls:
            options |= {
                "ssl_ca_certs": self.ca_file,
                "ssl_certfile": self.cert_file,
                "ssl_keyfile": self.key_file,
                "ssl_check_hostname": True,
            }
        return options

    def _master(self, options: dict[str, Any]) -> Redis:
        told: dict[str, Any] = dict(parse_url(self.url.reveal()))
        master = str(told.pop("host", ""))
        for name in ("port", "connection_class"):
            told.pop(name, None)
        tls = {"ssl": True} if self.tls else {}
        addresses = [_address(text) for text in self.sentinels]
        sentinel = Sentinel(addresses, sentinel_kwargs={**options, **tls})  # type: ignore[no-untyped-call]
        found: Redis = sentinel.master_for(master, redis_class=_Master, **{**options, **told, **tls})
        return found


async def renew(client: Redis) -> None:
    """No connection that is there now carries another call. The pool itself can only disconnect those it may give to
    somebody at the same moment, so idle ones are taken out first; those in use are made anew when they come back.
    """
    pool: Any = client.connection_pool
    idle = [*pool._available_connections]  # noqa: SLF001
    pool._available_connections.clear()  # noqa: SLF001
    for connection in pool._in_use_connections:  # noqa: SLF001
        connection.mark_for_reconnect()
    for connection in idle:
        await connection.disconnect()


class _Master(Redis):
    """Closes the connections to its sentinels, too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host else (text, SENTINEL_PORT)
