"""The demo's part of the process: a simulated Messenger, a page connected to it, and a bot.

They use the HTTP API like external programs, and start when everything else is ready.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from airy.actors.runtime import Child, Context
from airy.api_client import ApiClient
from airy.app.services import Services
from airy.config import Config
from airy.sim.bot import Bot
from airy.sim.demo import PageConnector, demo_settings
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimServer
from airy.token_file import system_token

CUSTOMERS = 5
LIVELY = Behaviour(duplicated=0.2, reordered=0.1, read=0.7, late=0.1, late_ms=8_000)


class DemoSimulation:
    """A running simulated Messenger, and the configuration that points to it."""

    def __init__(self, sim: SimServer[GraphProvider], config: Config) -> None:
        self.config = config
        self._sim = sim

    def children(self, services: Services, url: Callable[[], str]) -> tuple[Child, ...]:
        """`url` is called when the children start; the server listens by then."""
        ports = services.ports

        def client() -> ApiClient:
            return ApiClient(ports.provider_http, url(), system_token(self.config))

        def connector() -> PageConnector:
            return PageConnector(client(), DEMO_PAGE.id, DEMO_PAGE.token)

        return (
            Child(name="page", start=connector, restart="transient"),
            Child(name="bot", start=lambda: Bot(client(), ports.clock)),
            Child(name="customers", start=lambda: _Customers(self._sim, url), restart="transient"),
        )


class _Customers:
    """Points the simulation's webhooks at this process, once the page is connected and the bot listens."""

    def __init__(self, sim: SimServer[GraphProvider], url: Callable[[], str]) -> None:
        self._sim = sim
        self._url = url

    async def run(self, ctx: Context) -> None:
        self._sim.target_url = self._url()
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()
        self._sim.target_url = None


@asynccontextmanager
async def start_demo(config: Config) -> AsyncIterator[DemoSimulation]:
    """Starts the simulated Messenger on a free port of loopback."""
    options = GraphOptions(customers=CUSTOMERS, behaviour=LIVELY)
    sim = SimServer(GraphProvider, options)
    async with sim.serving() as graph_url:
        settings = demo_settings(
            config,
            graph_url=graph_url,
            app_id=options.app_id,
            app_secret=options.app_secret,
            verify_token=options.verify_token,
        )
        yield DemoSimulation(sim, settings)
