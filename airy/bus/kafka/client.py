"""What all client objects of aiokafka share: how they connect, how they are started, and how they are thrown away.

A client is disposable. `start` that fails leaves tasks behind, `stop` can hang or raise a stray cancellation while a
broker is away, and then ends nothing: so both run in a task of their own, under a deadline, nobody waits for more than
that, and what is left is swept up.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from airy.bus.kafka.failure import meaning
from airy.bus.kafka.remains import sweep
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
        "bootstrap_servers": list(settings.bootstrap),
        "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_s * 1000),
        "metadata_max_age_ms": 30_000,
        "security_protocol": _PROTOCOLS[settings.tls, settings.sasl != "off"],
    }
    if settings.tls:
        options["ssl_context"] = _tls(settings)
    if settings.sasl != "off":
        options |= {
            "sasl_mechanism": settings.sasl,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.reveal() if settings.password else "",
        }
    return options


_PROTOCOLS = {
    (False, False): "PLAINTEXT",
    (True, False): "SSL",
    (False, True): "SASL_PLAINTEXT",
    (True, True): "SASL_SSL",
}


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


async def started(make: Callable[[], C], settings: KafkaSettings) -> C:
    """A client that is connected. Raises `Unavailable`, and leaves nothing behind then."""
    client = make()  # aiokafka's constructors want a running loop, and connect only in `start`
    try:  # when it takes too long it is not cancelled, but swept up, with the connection it holds
        await bounded(asyncio.shield(client.start()), settings.call_s, "connecting to Kafka")
    except BaseException:
        await dispose(client, settings)
        raise
    return client


async def dispose(client: Client, settings: KafkaSettings, *, politely: bool = True) -> None:
    """Stop it within `stop_s`, and end what it left. Whoever waits may be cancelled: it goes on without them."""
    disposal = asyncio.ensure_future(_dispose(client, settings.stop_s if politely else 0.0))
    _DISPOSALS.add(disposal)
    disposal.add_done_callback(_DISPOSALS.discard)
    await asyncio.wait({disposal})


_DISPOSALS: set["asyncio.Future[None]"] = set()  # the loop itself holds tasks weakly


async def _dispose(client: Client, within_s: float) -> None:
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait({stopping}, timeout=within_s)  # even in no time it is marked as closed, and does not complain
    if stopping.done() and not stopping.cancelled():
        stopping.exception()  # what it raises concerns nobody any more
    stopping.cancel()
    await sweep(client)


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


def cancelled() -> bool:
    """Whether somebody wants this task to end. A cancellation nobody asked for is the client's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
