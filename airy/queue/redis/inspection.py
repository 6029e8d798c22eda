"""Looks at a Redis server without changing it: for `airy doctor`. Asyncio only, as the client is."""

import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlsplit

import anyio
import redis.exceptions as errors
from msgspec import Struct
from redis.asyncio.sentinel import MasterNotFoundError

from airy.errors import Refused
from airy.queue.redis import permissions, scripts
from airy.queue.redis.keys import KeyNames
from airy.queue.redis.memory_guard import MemoryUsage, fullest, parse_info
from airy.queue.redis.settings import RedisSettings

CALL_S = 2.0
CLOSE_S = 1.0
PLAIN_S = 1.0
PORT = 6379

RedisFailure = Literal[
    "",
    "files",
    "host",
    "refused",
    "timeout",
    "sentinels",
    "standalone",
    "loading",
    "tls",
    "certificate",
    "password",
    "protocol",
]


class RedisFacts(Struct, frozen=True, kw_only=True):
    """`failure`: why there is nothing more. `skew_ms`: how far the server's clock is ahead of ours."""

    address: str  # without user and password
    failure: RedisFailure = ""
    detail: str = ""
    tls: bool = False
    user: str = ""
    cluster: bool = False  # whether it is configured as one
    mode: str = ""  # standalone, cluster, sentinel
    role: str = ""  # master, slave
    master: str = ""  # of a replica, host:port
    version: str = ""
    memory: MemoryUsage | None = None  # of the fullest node
    writes_refused: str = ""  # because it could not persist: the command that shows why
    denied: tuple[str, ...] = ()  # commands
    skew_ms: int = 0


async def inspect_redis(settings: RedisSettings, names: KeyNames, now_ms: Any) -> RedisFacts:
    """`now_ms` is called when the server's time has arrived. Never raises for what the server or the network does."""
    parts = urlsplit(settings.url.reveal())
    address = parts.netloc.rpartition("@")[2]
    facts = RedisFacts(address=address, tls=settings.tls, user=parts.username or "default")
    try:
        settings.check()
    except Refused as error:
        return _failed(facts, "files", error)
    client = settings.client(socket_s=CALL_S, call_s=CALL_S)
    try:
        with anyio.fail_after(2 * CALL_S):
            return await _inspect(facts, client, settings, names, now_ms)
    except Exception as error:  # noqa: BLE001 - the client raises many kinds; each becomes a cause
        failure = failure_of(error)
        if failure in ("timeout", "protocol") and settings.tls and await _speaks_plain(parts.hostname, parts.port):
            failure = "tls"
        return _failed(facts, failure, error)
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True), suppress(errors.RedisError, OSError):
            await client.aclose()


async def _inspect(facts: RedisFacts, client: Any, settings: RedisSettings, names: KeyNames, now_ms: Any) -> RedisFacts:
    await _reply(client, settings, "PING", may_be_denied=True)
    seconds, micros = await _reply(client, settings, "TIME", may_be_denied=True) or (None, 0)
    skew_ms = 0 if seconds is None else int(seconds) * 1000 + int(micros) // 1000 - now_ms()
    infos = await _infos(client, settings)
    replication = next((info for info in infos if info.get("role") == "slave"), infos[0] if infos else {})
    return RedisFacts(
        address=facts.address,
        tls=facts.tls,
        user=facts.user,
        cluster=settings.cluster,
        mode=replication.get("redis_mode", ""),
        role=replication.get("role", ""),
        master=f"{replication['master_host']}:{replication['master_port']}" if "master_host" in replication else "",
        version=next((info["redis_version"] for info in infos if "redis_version" in info), ""),
        memory=fullest(infos) if infos and all("used_memory" in info for info in infos) else None,
        writes_refused=next(filter(None, map(refuses_writes, infos)), ""),
        denied=tuple(await _denied(client, settings, names)),
        skew_ms=skew_ms,
    )


async def _speaks_plain(host: str | None, port: int | None) -> bool:
    """Whether a server answers there as Redis does without TLS. One that gets the beginning of TLS waits for more."""
    try:
        with anyio.fail_after(PLAIN_S):
            async with await anyio.connect_tcp(host or "", port or PORT) as stream:
                await stream.send(b"PING\r\n")
                return (await stream.receive(64))[:1] in (b"+", b"-")
    except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False


async def _infos(client: Any, settings: RedisSettings) -> list[dict[str, str]]:
    """The `INFO` of every master; none if the user is denied it."""
    try:
        if not settings.cluster:
            return [parse_info(await client.execute_command("INFO"))]
        await client.initialize()
        return [parse_info(await client.execute_command("INFO", target_nodes=node)) for node in client.get_primaries()]
    except errors.NoPermissionError:
        return []


async def _reply(client: Any, settings: RedisSettings, name: str, *, may_be_denied: bool) -> Any:
    if settings.cluster:
        await client.initialize()
    options = {"target_nodes": client.get_default_node()} if settings.cluster else {}
    try:
        return await client.execute_command(name, **options)
    except errors.NoPermissionError:
        if may_be_denied:
            return None
        raise


async def _denied(client: Any, settings: RedisSettings, names: KeyNames) -> Iterable[str]:
    """The commands the queue needs and this user may not use."""
    probes = permissions.probes(names, cluster=settings.cluster)
    options = {"target_nodes": client.get_default_node()} if settings.cluster else {}
    try:
        denied = await client.execute_command("EVAL", scripts.DENIED_COMMANDS.text, 0, *probes, **options)
    except errors.NoPermissionError:
        return await _denied_by_hash(client, settings, names, options)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in denied]


async def _denied_by_hash(
    client: Any, settings: RedisSettings, names: KeyNames, options: Mapping[str, Any]
) -> Iterable[str]:
    """As the queue itself asks: with the two commands for scripts that it has rights for."""
    try:
        await client.execute_command("SCRIPT LOAD", scripts.DENIED_COMMANDS.text, **options)
        probes = permissions.probes(names, cluster=settings.cluster)
        denied = await client.execute_command("EVALSHA", scripts.DENIED_COMMANDS.sha, 0, *probes, **options)
    except errors.NoPermissionError:
        return ["SCRIPT|LOAD", "EVALSHA"]
    return [each.decode() if isinstance(each, bytes) else str(each) for each in denied]


def refuses_writes(info: Mapping[str, str]) -> str:
    """Why this server answers writes with MISCONF; empty: it takes them. Pure."""
    if info.get("aof_last_write_status", "ok") != "ok":
        return "its append-only file could not be written"
    return ""


FAILURE_TEXTS: tuple[tuple[str, RedisFailure], ...] = (  # where the client has no type
    ("NOAUTH", "password"),
    ("WRONGPASS", "password"),
    ("Cluster mode is not enabled", "standalone"),
    ("refused", "refused"),
)


def failure_of(error: BaseException) -> RedisFailure:
    """The kind of a failure, by the innermost reason. Pure."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    kinds: tuple[tuple[Any, RedisFailure], ...] = (
        (ssl.SSLCertVerificationError, "certificate"),
        (ssl.SSLError, "tls"),
        (MasterNotFoundError, "sentinels"),
        (socket.gaierror, "host"),
        ((errors.AuthenticationError, errors.AuthorizationError), "password"),
        (errors.BusyLoadingError, "loading"),
        (ConnectionRefusedError, "refused"),
        ((TimeoutError, errors.TimeoutError), "timeout"),
    )
    for kind, name in kinds:
        if any(isinstance(one, kind) for one in chain):
            return name
    text = str(error)
    return next((name for words, name in FAILURE_TEXTS if words in text), "protocol")


def _failed(facts: RedisFacts, failure: RedisFailure, error: BaseException) -> RedisFacts:
    return RedisFacts(
        address=facts.address,
        tls=facts.tls,
        user=facts.user,
        failure=failure,
        detail=str(error) or type(error).__name__,
    )
