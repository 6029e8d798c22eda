"""How to reach Redis, and the clients made from it: one server, a cluster, or the master that sentinels name.

Commands are in `connection`, the meaning of errors in `errors`.
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


class RedisSettings(Struct, frozen=True, kw_only=True):
    url: Secret  # with sentinels, the host part is the master's name
    cluster: bool = False
    sentinels: tuple[str, ...] = ()  # host:port
    ca_file: str | None = None  # None: the system's certificate authorities
    cert_file: str | None = None  # client certificate, where the server requires one
    key_file: str | None = None
    connect_s: float = CONNECT_S

    @property
    def tls(self) -> bool:
        return self.url.reveal().startswith("rediss://")

    def check(self) -> None:
        """Raises `Refused` for unusable files. The client itself would fail at each connection only."""
        try:
            if self.tls:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file:
                    context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise Refused(
                f"the files of queue.redis are unusable ({error}): caFile is {self.ca_file}, certFile "
                f"{self.cert_file}, keyFile {self.key_file}; each must be a readable PEM file",
                field="queue.redis",
            ) from error

    def client(self, *, socket_s: float, call_s: float, nodes: Sequence[Node] = ()) -> Any:
        """In a cluster, `nodes` also serve the slot map: the node of the URL may be gone for good."""
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
        """A client for a subscription; in a cluster it may use any `node`."""
        options = self._options(socket_s)
        if self.sentinels:
            return self._master(options)
        listener: Redis = Redis.from_url(self.url.reveal(), **options)
        if node is not None:
            listener.connection_pool.connection_kwargs |= {"host": node[0], "port": node[1]}
        return listener

    def _options(self, socket_s: float) -> dict[str, Any]:
        """The client's own retries are off: a lost reply leaves the effect unknown."""
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
        parsed: dict[str, Any] = dict(parse_url(self.url.reveal()))
        master = str(parsed.pop("host", ""))
        for name in ("port", "connection_class"):
            parsed.pop(name, None)
        tls = {"ssl": True} if self.tls else {}
        addresses = [_address(text) for text in self.sentinels]
        sentinel = Sentinel(addresses, sentinel_kwargs={**options, **tls})  # type: ignore[no-untyped-call]
        found: Redis = sentinel.master_for(master, redis_class=_Master, **{**options, **parsed, **tls})
        return found


async def discard_connections(client: Redis) -> None:
    """No connection open now carries another call. The pool can only disconnect connections that it may hand out at
    the same moment, so idle ones are taken out first; those in use reconnect when they are returned.
    """
    pool: Any = client.connection_pool
    idle = [*pool._available_connections]  # noqa: SLF001
    pool._available_connections.clear()  # noqa: SLF001
    for connection in pool._in_use_connections:  # noqa: SLF001
        connection.mark_for_reconnect()
    for connection in idle:
        await connection.disconnect()


class _Master(Redis):
    """Also closes the connections to its sentinels."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host else (text, SENTINEL_PORT)
