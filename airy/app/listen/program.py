"""Serves a receiver until it is interrupted, subscribed at an instance or not."""

import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
from anyio.abc import TaskStatus
from msgspec import Struct

from airy.actors.runtime import Context
from airy.api_client import ApiClient, RequestRefused
from airy.app.listen.answer_plan import AnswerPlan
from airy.app.listen.receiver import ReceivedDelivery, Receiver
from airy.app.listen.signature_check import parse_secrets
from airy.clock import SystemClock
from airy.errors import Refused, Unavailable
from airy.http.server import HttpServer

NAME = "airy listen"  # of the subscription
DELETE_S = 10.0
GUARD_ADVICE = (
    "the instance refuses addresses that are not public: for a receiver on this machine or network set, in the section "
    "security of its airy.yaml, webhooks: {allowHttp: true, allowPrivateAddresses: true, ports: []}, and restart it "
    "(`airy up --demo` has this); or pass --public-url with the address of a tunnel"
)


class ListenOptions(Struct, frozen=True, kw_only=True):
    plan: AnswerPlan
    secrets: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    path: str | None = None  # None: every path


class SubscribeOptions(Struct, frozen=True, kw_only=True):
    events: Sequence[str] = ()  # none: all
    public_url: str | None = None  # where the instance reaches the receiver; None: where it listens


class _SubscribedWebhook(Struct, frozen=True):
    id: str
    signing_secret: str


async def listen(
    options: ListenOptions,
    on_delivery: Callable[[ReceivedDelivery], None],
    note: Callable[[str], None],
    *,
    client: ApiClient | None = None,
    subscribe: SubscribeOptions | None = None,
) -> None:
    """Returns once it is interrupted. Raises `Misconfigured` for a port in use, and what the instance refuses."""
    receiver = Receiver(options.plan, parse_secrets(options.secrets), on_delivery, SystemClock(), path=options.path)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with _serving(receiver, options) as url:
            note(f"listening at {url}; Ctrl-C ends it")
            if client is None or subscribe is None:
                await _first(signals)
                return
            async with _subscribed(client, subscribe, subscribe.public_url or url, note) as subscription:
                receiver.secrets = parse_secrets((*options.secrets, subscription.signing_secret))
                note(f"subscribed at {client.url} as webhook {subscription.id}; it is deleted at the end")
                await _first(signals)


async def _first(signals: Any) -> None:
    async for _ in signals:
        return


@asynccontextmanager
async def _serving(receiver: Receiver, options: ListenOptions) -> AsyncIterator[str]:
    """The URL at which it listens."""
    server = HttpServer(receiver, host=options.host, port=options.port, drain_s=1.0)

    async def serve(*, task_status: TaskStatus[Context]) -> None:
        random = Random()  # noqa: S311 - the server draws nothing that has to be secret
        ctx = Context("listen", clock=SystemClock(), random=random, on_ready=lambda: task_status.started(ctx))
        await server.run(ctx)

    async with anyio.create_task_group() as tasks:
        ctx = await tasks.start(serve)
        host, port = server.address or (options.host, options.port)
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}{options.path or '/'}"
        ctx.draining.set()


@asynccontextmanager
async def _subscribed(
    client: ApiClient, options: SubscribeOptions, url: str, note: Callable[[str], None]
) -> AsyncIterator[_SubscribedWebhook]:
    body = {"url": url, "name": NAME, "events": list(options.events)}
    try:
        made = await client.call("/webhooks.subscribe", body, _SubscribedWebhook)
    except RequestRefused as error:
        if "url: " in str(error) or "address" in str(error):
            raise Refused(f"{error}; {GUARD_ADVICE}") from error
        raise
    try:
        yield made
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(DELETE_S):
            try:
                await client.call("/webhooks.delete", {"id": made.id}, object)
            except (Refused, Unavailable) as error:
                note(f"webhook {made.id} is still subscribed: {error}")
