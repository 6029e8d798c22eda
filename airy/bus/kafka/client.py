"""What all client objects of aiokafka share: how they connect, how they are started, and how they are thrown away.

A client is disposable. `start` that fails leaves tasks behind, `stop` can hang or raise a stray cancellation while a
broker is away: so both run in a task of their own, under a deadline, and nobody waits for more than that.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from airy.bus.kafka.failure import meaning
from airy.bus.kafka.settings import KafkaSettings
from airy.errors import Unavailable

T = TypeVar("T")


class Client(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


C = TypeVar("C", bound=Client)


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """The keyword arguments every client of aiokafka takes to connect."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap), "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_s * 1000), "metadata_max_age_ms": 30_000,
        "security_protocol": _PROTOCOLS[settings.tls, settings.sasl != "off"],
    }  # fmt: skip
    if settings.tls:
        options["ssl_context"] = _tls(settings)
    if settings.sasl != "off":
        options |= {
            "sasl_mechanism": settings.sasl, "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.reveal() if settings.password else "",
        }  # fmt: skip
    return options


_PROTOCOLS = {
    (False, False): "PLAINTEXT", (True, False): "SSL", (False, True): "SASL_PLAINTEXT", (True, True): "SASL_SSL",
}  # fmt: skip


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


async def started(make: Callable[[], C], settings: KafkaSettings) -> C:
    """A client that is connected. Raises `Unavailable`, and leaves nothing behind then."""
    client = make()  # aiokafka's constructors want a running loop, and connect only in `start`
    try:
        await bounded(client.start(), settings.call_s, "connecting to Kafka")
    except BaseException:
        await dispose(client, settings)
        raise
    return client


async def dispose(client: Client, settings: KafkaSettings) -> None:
    """Stop it, and wait at most `stop_s`; what it raises concerns nobody any more."""
    task = asyncio.ensure_future(client.stop())
    task.add_done_callback(_forget)
    try:
        await asyncio.wait({task}, timeout=settings.stop_s)
    finally:
        task.cancel()


def _forget(task: "asyncio.Future[None]") -> None:
    if not task.cancelled():
        task.exception()


async def bounded(call: Awaitable[T], within_s: float, doing: str) -> T:
    """The result of a call to the client. Raises `Unavailable` after `within_s`, and for what may work later."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=within_s)
    except BaseException:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise Unavailable(f"{doing} took more than {within_s:g} s: is the cluster up?")
    if task.cancelled():  # by the client itself: nobody asked us to stop
        raise Unavailable(f"{doing} was given up by the client")
    error = task.exception()
    if error is None:
        return task.result()
    raise meaning(error, doing) from error
