"""The simulated Messenger over HTTP: the Graph API, webhooks to a target, and a control API under `/sim/`.

core.py makes all decisions. The control API is for tests and demonstrations; it has no authentication, so the server
listens on loopback by default.
"""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import anyio
import msgspec
from aiohttp import web
from msgspec import Struct

from airy.clock import Clock, SystemClock
from airy.errors import Refused
from airy.sim.messenger.core import MessengerCore
from airy.sim.messenger.options import SendFault, SimOptions
from airy.sim.messenger.webhook_sender import WebhookSender

POST_S = 5.0  # Meta's approximate time-out for a webhook
UNANSWERED_S = 120.0  # how long a call without a response is held open, unless the caller disconnects
BODY_BYTES_MAX = 1_048_576
STOP_S = 2.0
SHOWN_MAX = 200  # journal entries in one response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SayBody(Struct, frozen=True):
    """Without `psid` a new person writes."""

    text: str
    psid: str | None = None
    page_id: str | None = None
    name: str | None = None


class FaultBody(Struct, frozen=True):
    fault: SendFault
    times: int = 1
    message_id: str | None = None


class MessengerSim:
    """`async with sim.serving() as url:` — `url` is what a source takes as its `graph_url`."""

    def __init__(self, options: SimOptions, *, clock: Clock | None = None) -> None:
        self.options = options
        self.target_url = options.target_url  # may be set at any time; None: webhooks are retried until it is set
        self.core = MessengerCore(options, now_ms=(clock or SystemClock()).now_ms())
        self._clock = clock or SystemClock()
        self._stopping = anyio.Event()  # set: release the calls that are held open

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        self._stopping = anyio.Event()
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            shutdown_timeout=STOP_S,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            await self._listen(runner)
            host, port = runner.addresses[0][:2]
            async with self._sending_webhooks():
                yield f"http://{host}:{port}"
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
            parallel_max = self.options.posts_parallel_max
            sender = WebhookSender(
                self.core, self._clock, self._webhook_poster(session), posts_parallel_max=parallel_max
            )
            tasks.start_soon(sender.run)
            try:
                yield
            except Exception as error:  # noqa: BLE001 — raised again below, outside the task group, which would wrap it
                failed = error
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def handshake(self) -> str:
        """Verify the target like Meta does when a webhook URL is configured. Returns the result as text."""
        if self.target_url is None:
            return "no target url: webhooks wait"
        challenge = str(self.core.state.draw("challenge").randrange(10**9))
        query = {
            "hub.mode": "subscribe",
            "hub.verify_token": self.options.verify_token,
            "hub.challenge": challenge,
        }
        timeout = aiohttp.ClientTimeout(total=POST_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self.target_url, params=query, allow_redirects=False) as answer,
            ):
                body = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{self.target_url} does not respond ({type(error).__name__}); webhooks will be retried"
        if answer.status == 200 and body == challenge:
            return f"{self.target_url} is subscribed"
        return f"{self.target_url} responded with {answer.status} to the handshake: check the verify token"

    def _webhook_poster(
        self, session: aiohttp.ClientSession
    ) -> Callable[[bytes, Mapping[str, str]], Awaitable[int | None]]:
        async def post(body: bytes, headers: Mapping[str, str]) -> int | None:
            if self.target_url is None:
                return None
            try:
                async with session.post(self.target_url, data=body, headers=headers, allow_redirects=False) as answer:
                    return answer.status
            except (aiohttp.ClientError, TimeoutError):
                return None

        return post

    # --- the routes

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_error_middleware])
        app.router.add_get("/sim/state", self._state)
        app.router.add_get("/sim/journal", self._journal)
        app.router.add_post("/sim/say", self._say)
        app.router.add_post("/sim/fault", self._fault)
        app.router.add_route("*", "/{path:.*}", self._graph)
        return app

    async def _graph(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): text for name, text in request.headers.items()}
        reply = self.core.call(request.method, str(request.url), headers, body, self._clock.now_ms())
        if reply.status is None:
            if reply.reached:
                with anyio.move_on_after(UNANSWERED_S):
                    await self._stopping.wait()
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)  # never sent: the connection is gone
        await anyio.sleep(reply.after_ms / 1000)
        return web.Response(status=reply.status, body=reply.body, headers={"content-type": reply.content_type})

    async def _state(self, _request: web.Request) -> web.Response:
        state = self.core.state
        people = [
            {"psid": person.psid, "name": person.name, "page_id": person.page_id, "blocked": person.blocked}
            for person in list(state.people.values())[:SHOWN_MAX]
        ]
        pages = [{"id": page_id, "name": page.page.name} for page_id, page in state.pages.items()]
        return _json({"pages": pages, "people": people, "pending": self.core.pending, "quiet": self.core.quiet})

    async def _journal(self, _request: web.Request) -> web.Response:
        journal = self.core.journal
        return _json(
            {
                "sends": list(journal.sends)[-SHOWN_MAX:],
                "webhook_attempts": list(journal.webhook_attempts)[-SHOWN_MAX:],
                "given_up": journal.given_up,
                "violations": journal.violations(),
            }
        )

    async def _say(self, request: web.Request) -> web.Response:
        message = msgspec.json.decode(await request.read(), type=SayBody)
        psid = message.psid or self.core.person(message.page_id, message.name)
        return _json({"psid": psid, "mid": self.core.says(psid, message.text, self._clock.now_ms())})

    async def _fault(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=FaultBody)
        self.core.expect(wanted.fault, times=wanted.times, message_id=wanted.message_id)
        return web.Response(status=204)


@web.middleware
async def _error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (Refused, msgspec.MsgspecError) as error:
        return _json({"message": str(error)}, status=400)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


def run_messenger_sim(options: SimOptions, say: Callable[[str], None] | None = None) -> int:
    """`airy sim messenger`: serve until interrupted and print the messages. Returns the exit code."""
    anyio.run(_run, MessengerSim(options), say or _print, backend="asyncio")
    return 0


async def _run(sim: MessengerSim, say: Callable[[str], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with sim.serving() as url:
            say(f"simulated Messenger on {url} (set graphUrl to it), app {sim.options.app_id}")
            for page in sim.options.pages:
                say(f"page {page.id} ({page.name}), token {page.token}")
            say(await sim.handshake())
            sim.core.transcript = say
            async for _ in signals:
                return


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
