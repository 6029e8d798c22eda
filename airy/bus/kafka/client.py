"""Connecting, calling and disposing of aiokafka's clients.

A client is disposable. A `start` that fails leaves tasks behind; `stop` can hang or raise a stray cancellation while a
broker is away, and then ends nothing. So both run in a task of their own with a deadline, callers wait no longer than
that, and leaked tasks are cancelled.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from airy.bus.kafka.errors import translate
from airy.bus.kafka.leaked_tasks import cancel_leaked_tasks
from airy.bus.kafka.settings import KafkaSettings
from airy.errors import Unavailable

T = TypeVar("T")


class Client(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


C = TypeVar("C", bound=Client)


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """The keyword arguments to connect, common to all clients of aiokafka."""
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


async def connect(make: Callable[[], C], settings: KafkaSettings) -> C:
    """A connected client. Raises `Unavailable`, without leaking tasks."""
    client = make()  # aiokafka's constructors need a running loop, and connect only in `start`
    try:  # shielded: a late `start` ends in `dispose`, together with the connection it holds
        await with_deadline(asyncio.shield(client.start()), settings.call_s, "connecting to Kafka")
    except BaseException:
        await dispose(client, settings)
        raise
    return client


async def dispose(client: Client, settings: KafkaSettings, *, graceful: bool = True) -> None:
    """Stop a client within `stop_s`, then cancel its leaked tasks. Continues when the caller is cancelled."""
    disposal = asyncio.ensure_future(_dispose(client, settings.stop_s if graceful else 0.0))
    _DISPOSALS.add(disposal)
    disposal.add_done_callback(_DISPOSALS.discard)
    await asyncio.wait({disposal})


_DISPOSALS: set["asyncio.Future[None]"] = set()  # the event loop holds only weak references to tasks


async def _dispose(client: Client, within_s: float) -> None:
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait(
        {stopping}, timeout=within_s
    )  # even with no time to wait the client is marked as closed, and logs no warning
    if stopping.done() and not stopping.cancelled():
        stopping.exception()  # retrieved, so that asyncio does not log it
    stopping.cancel()
    await cancel_leaked_tasks(client)


async def with_deadline(call: Awaitable[T], within_s: float, doing: str) -> T:
    """The result of a call to the client. Raises `Unavailable` after `within_s`, and translated errors."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=within_s)
    except BaseException:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise Unavailable(f"{doing} took more than {within_s:g} s: is the cluster up?")
    if task.cancelled():  # by the client itself
        raise Unavailable(f"{doing} was cancelled by the client")
    error = task.exception()
    if error is None:
        return task.result()
    raise translate(error, doing) from error


def cancel_requested() -> bool:
    """Whether this task was asked to end. Otherwise a `CancelledError` comes from the client."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
