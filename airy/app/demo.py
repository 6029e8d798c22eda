"""The demo's part of the process: simulated providers, their accounts connected as channels, and a bot.

They use the HTTP API like external programs, and start when everything else is ready.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from airy.actors.runtime import Child, Context
from airy.api_client import ApiClient
from airy.app.services import Services
from airy.config import Config
from airy.sim.bot import Bot
from airy.sim.demo import ChannelConnector, demo_settings
from airy.sim.graph import DEMO_NUMBER, DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimServer
from airy.sim.provider.setup import Connect, Setup
from airy.sim.telegram import TelegramOptions, TelegramProvider
from airy.sim.twilio import DEMO_SMS_NUMBER, TwilioOptions, TwilioProvider
from airy.token_file import system_token

REST_MS = (4_000, 30_000)  # contacts arrive together, and with long rests all of them would be silent at once
LIVELY = Behaviour(duplicated=0.2, reordered=0.1, read=0.7, late=0.1, late_ms=8_000)


class DemoSimulation:
    """The running simulated providers, and the configuration that points to them."""

    def __init__(self, servers: Sequence[SimServer[Any]], setups: Sequence[Setup], config: Config) -> None:
        self.config = config
        self._servers = servers
        self._connects = [connect for setup in setups for connect in setup.connects]

    def children(self, services: Services, url: Callable[[], str]) -> tuple[Child, ...]:
        """`url` is called when the children start; the server listens by then."""
        ports = services.ports

        def client() -> ApiClient:
            return ApiClient(ports.provider_http, url(), system_token(self.config))

        def connector(connect: Connect) -> ChannelConnector:
            return ChannelConnector(client(), connect)

        return (
            *(
                Child(
                    name=f"channel-{connect.kind.replace('.', '-')}",
                    start=partial(connector, connect),
                    restart="transient",
                )
                for connect in self._connects
            ),
            Child(name="bot", start=lambda: Bot(client(), ports.clock)),
            Child(name="customers", start=lambda: _Customers(self._servers, url), restart="transient"),
        )


class _Customers:
    """Points the webhooks of all providers at this process, once channels are connected and the bot listens."""

    def __init__(self, servers: Sequence[SimServer[Any]], url: Callable[[], str]) -> None:
        self._servers = servers
        self._url = url

    async def run(self, ctx: Context) -> None:
        for server in self._servers:
            server.target_url = self._url()
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()
        for server in self._servers:
            server.target_url = None


@asynccontextmanager
async def start_demo(config: Config) -> AsyncIterator[DemoSimulation]:
    """Starts the simulated providers, each on a free port of loopback."""
    public_url = config.http.public_url or f"http://127.0.0.1:{config.http.port}"
    servers: list[SimServer[Any]] = [
        SimServer(
            GraphProvider,
            GraphOptions(accounts=(DEMO_PAGE, DEMO_NUMBER), customers=4, rest_ms=REST_MS, behaviour=LIVELY),
        ),
        SimServer(
            TwilioProvider,
            TwilioOptions(
                accounts=(DEMO_SMS_NUMBER,),
                customers=2,
                first_name=4,
                rest_ms=REST_MS,
                behaviour=LIVELY,
                public_url=public_url,
            ),
        ),
        SimServer(TelegramProvider, TelegramOptions(customers=2, first_name=6, rest_ms=REST_MS, behaviour=LIVELY)),
    ]
    async with AsyncExitStack() as held:
        setups = [server.core.setup(await held.enter_async_context(server.serving())) for server in servers]
        yield DemoSimulation(servers, setups, demo_settings(config, setups, public_url))
