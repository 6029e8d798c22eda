"""The simulated Messenger as a program: its Graph API over HTTP, its webhooks posted to a target, and a small
steering API.

Thin: everything is decided in core.py. The steering API under `/sim/` is for integration tests and curious
people; it has no authentication, so the server listens on loopback unless told otherwise.
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
from airy.sim.messenger.options import Fault, SimOptions
from airy.sim.messenger.pump import WebhookPump

POST_S = 5.0  # Meta waits about so long for an answer to a webhook
SILENT_S = 120.0  # a call that gets no answer is held so long, unless the caller hangs up
BODY_BYTES_MAX = 1_048_576
STOP_S = 2.0
SHOWN_MAX = 200  # journal entries in one answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SayBody(Struct, frozen=True):
    """Without `psid` somebody new writes."""

    text: str
    psid: str | None = None
    page_id: str | None = None
    name: str | None = None


class FaultBody(Struct, frozen=True):
    fault: Fault
    times: int = 1
    message_id: str | None = None


class MessengerSim:
    """`async with sim.serving() as url:` — `url` is what a source takes as its `graph_url`."""

    def __init__(self, options: SimOptions, *, clock: Clock | None = None) -> None:
        self.options = options
        self.target_url = options.target_url  # may be set while it runs; without one, webhooks wait
        self.core = MessengerCore(options, now_ms=(clock or SystemClock()).now_ms())
        self._clock = clock or SystemClock()
        self._stopping = anyio.Event()  # calls that get no answer need not be held any longer

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
            await web.TCPSite(runner, self.options.host, self.options.port).start()
            host, port = runner.addresses[0][:2]
            async with self._pumping():
                yield f"http://{host}:{port}"
        finally:
            self._stopping.set()
            await runner.cleanup()

    @asynccontextmanager
    async def _pumping(self) -> AsyncIterator[None]:
        failed: Exception | None = None
        timeout = aiohttp.ClientTimeout(total=POST_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, anyio.create_task_group() as tasks:
            parallel_max = self.options.posts_parallel_max
            pump = WebhookPump(self.core, self._clock, self._poster(session), posts_parallel_max=parallel_max)
            tasks.start_soon(pump.run)
            try:
                yield
            except Exception as error:  # noqa: BLE001 — raised again, outside of the group that would wrap it
                failed = error
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def handshake(self) -> str:
        """Subscribe as Meta does when a webhook is entered in the app's settings; what came of it, in words."""
        if self.target_url is None:
            return "no target url: webhooks wait"
        challenge = str(self.core.world.draw("challenge").randrange(10**9))
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
                said = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{self.target_url} does not answer ({type(error).__name__}); webhooks are posted again and again"
        if answer.status == 200 and said == challenge:
            return f"{self.target_url} is subscribed"
        return f"{self.target_url} answered {answer.status} to the handshake: check the verify token"

    def _poster(self, session: aiohttp.ClientSession) -> Callable[[bytes, Mapping[str, str]], Awaitable[int | None]]:
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
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_explained])
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
                with anyio.move_on_after(SILENT_S):
                    await self._stopping.wait()
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)  # nobody reads it
        await anyio.sleep(reply.after_ms / 1000)
        return web.Response(status=reply.status, body=reply.body, headers={"content-type": reply.content_type})

    async def _state(self, _request: web.Request) -> web.Response:
        world = self.core.world
        people = [
            {"psid": person.psid, "name": person.name, "page_id": person.page_id, "blocked": person.blocked}
            for person in list(world.people.values())[:SHOWN_MAX]
        ]
        pages = [{"id": page_id, "name": sight.page.name} for page_id, sight in world.pages.items()]
        return _json({"pages": pages, "people": people, "pending": self.core.pending, "quiet": self.core.quiet})

    async def _journal(self, _request: web.Request) -> web.Response:
        journal = self.core.journal
        return _json(
            {
                "sendings": list(journal.sendings)[-SHOWN_MAX:],
                "postings": list(journal.postings)[-SHOWN_MAX:],
                "given_up": journal.given_up,
                "violations": journal.violations(),
            }
        )

    async def _say(self, request: web.Request) -> web.Response:
        said = msgspec.json.decode(await request.read(), type=SayBody)
        psid = said.psid or self.core.person(said.page_id, said.name)
        return _json({"psid": psid, "mid": self.core.says(psid, said.text, self._clock.now_ms())})

    async def _fault(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=FaultBody)
        self.core.expect(wanted.fault, times=wanted.times, message_id=wanted.message_id)
        return web.Response(status=204)


@web.middleware
async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (Refused, msgspec.MsgspecError) as error:
        return _json({"message": str(error)}, status=400)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


def run_messenger_sim(options: SimOptions, say: Callable[[str], None] | None = None) -> int:
    """`airy sim messenger`: serve until interrupted, and tell what people write to each other. The exit code."""
    anyio.run(_run, MessengerSim(options), say or _print, backend="asyncio")
    return 0


async def _run(sim: MessengerSim, say: Callable[[str], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with sim.serving() as url:
            say(f"simulated Messenger on {url} (set graphUrl to it), app {sim.options.app_id}")
            for page in sim.options.pages:
                say(f"page {page.id} ({page.name}), token {page.token}")
            say(await sim.handshake())
            sim.core.overheard = say
            async for _ in signals:
                return


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
