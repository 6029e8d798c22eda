"""A simulated provider over HTTP: its API, its webhooks, and the control API.

core.py makes all decisions. The control API has no authentication, so the server listens on loopback by default.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp
import anyio
from aiohttp import web

from airy.clock import Clock, SystemClock
from airy.errors import Refused
from airy.sim.provider.api import UNPOSTED, AddressCheck, PendingWebhook, WebhookAnswer
from airy.sim.provider.control import ControlApi, refusals_as_400
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.options import SimOptions
from airy.sim.provider.webhook_sender import WebhookSender

POST_S = 5.0  # the shortest time a provider waits for the response to a webhook
UNANSWERED_S = 120.0  # how long a call without a response is held open, unless the caller disconnects
BODY_BYTES_MAX = 60_000_000  # an upload
ANSWER_BYTES_MAX = 65_536
STOP_S = 2.0

P = TypeVar("P", bound=SimulatedProvider[Any])

Post = Callable[[PendingWebhook], Awaitable[WebhookAnswer]]


class SimServer(Generic[P]):
    """`async with server.serving() as url:` — `url` is where a source finds the provider's API."""

    def __init__(self, provider: Callable[..., P], options: SimOptions, *, clock: Clock | None = None) -> None:
        self.options = options
        self.target_url = options.target_url  # may be set at any time
        self._clock = clock or SystemClock()
        self.core = provider(options, now_ms=self._clock.now_ms())
        self._stopping = anyio.Event()  # set: release the calls that are held open
        self._post: Post | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        self._stopping = anyio.Event()
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[refusals_as_400])
        ControlApi(self.core, self._clock, self._refusal).add_to(app)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S, handler_cancellation=True)
        await runner.setup()
        try:
            await self._listen(runner)
            host, port = runner.addresses[0][:2]
            self.core.address = f"http://{host}:{port}"
            async with self._sending_webhooks():
                yield self.core.address
        finally:
            self._stopping.set()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.options.host, self.options.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Refused(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error

    @asynccontextmanager
    async def _sending_webhooks(self) -> AsyncIterator[None]:
        failed: Exception | None = None
        timeout = aiohttp.ClientTimeout(total=POST_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, anyio.create_task_group() as tasks:
            self._post = self._poster(session)
            parallel_max = self.options.posts_parallel_max
            tasks.start_soon(WebhookSender(self.core, self._clock, self._post, posts_parallel_max=parallel_max).run)
            try:
                yield
            except Exception as error:  # noqa: BLE001 — raised again below, outside the task group, which would wrap it
                failed = error
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    def _address_of(self, url: str) -> str | None:
        """Where a webhook goes: `url` is registered, or only a path."""
        parts = urlsplit(url)
        if not url:
            return None
        if self.target_url is None:
            return url if parts.scheme else None
        return f"{self.target_url.rstrip('/')}{parts.path}{'?' if parts.query else ''}{parts.query}"

    def _poster(self, session: aiohttp.ClientSession) -> Post:
        async def post(webhook: PendingWebhook) -> WebhookAnswer:
            address = self._address_of(webhook.url)
            if address is None:
                return UNPOSTED
            try:
                async with session.post(
                    address, data=webhook.body, headers=webhook.headers, allow_redirects=False
                ) as answer:
                    body = await answer.content.read(ANSWER_BYTES_MAX)
                    return WebhookAnswer(answer.status, body, _seconds(answer.headers.get("retry-after")))
            except (aiohttp.ClientError, TimeoutError):
                return WebhookAnswer(None)

        return post

    async def handshakes(self) -> list[str]:
        """Verifies the target as the provider does when an address is configured. Returns the results as text."""
        asked = dict.fromkeys(filter(None, map(self.core.handshake, self.options.accounts)))
        return [await self._handshake(each) for each in asked]

    async def _handshake(self, handshake: AddressCheck) -> str:
        if self.target_url is None:
            return "no target: webhooks wait"
        target = f"{self.target_url.rstrip('/')}{handshake.path.partition('?')[0]}"
        return await self._refusal(target, handshake) or f"{target} is subscribed"

    async def _refusal(self, target: str, handshake: AddressCheck) -> str | None:
        """Why the provider would not use this address; None: it would."""
        _, mark, query = handshake.path.partition("?")
        method = "GET" if handshake.body is None else "POST"
        headers = {} if handshake.body is None else {"content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=POST_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, f"{target}{mark}{query}", data=handshake.body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                body = (await answer.content.read(ANSWER_BYTES_MAX)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"{target} does not respond ({type(error).__name__}); webhooks will be retried"
        if answer.status == 200 and body == handshake.expected:
            return None
        return f"{target} responded with {answer.status} to the handshake: check the {handshake.credential}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): text for name, text in request.headers.items()}
        reply = self.core.call(request.method, str(request.url), headers, body, self._clock.now_ms())
        if reply.check is not None and self._post is not None:
            reply = self.core.checked(reply, await self._post(reply.check))
        if reply.status is None:
            if reply.reached:
                with anyio.move_on_after(UNANSWERED_S):
                    await self._stopping.wait()
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)  # never sent: the connection is gone
        await anyio.sleep(reply.after_ms / 1000)
        return web.Response(
            status=reply.status, body=reply.body, headers={"content-type": reply.content_type, **reply.headers}
        )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
