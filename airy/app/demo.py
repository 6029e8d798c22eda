"""The demonstration's part of the process: a simulated Messenger beside it, a page connected to it, and a bot.

They are guests of the tree: they speak HTTP like anybody outside, and start when everything else is ready.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from airy.actors.runtime import Child, Context
from airy.app.parts import Parts
from airy.client import Client
from airy.config import Config, system_token
from airy.sim.bot import Bot
from airy.sim.demo import PageConnector, settings
from airy.sim.messenger.options import DEMO_PAGE, Behaviour, SimOptions
from airy.sim.messenger.server import MessengerSim

CUSTOMERS = 5
LIVELY = Behaviour(duplicated=0.2, reordered=0.1, read=0.7, late=0.1, late_ms=8_000)


class Show:
    """A running simulated Messenger, and the configuration that goes with it."""

    def __init__(self, sim: MessengerSim, config: Config) -> None:
        self.config = config
        self._sim = sim

    def guests(self, parts: Parts, url: Callable[[], str]) -> tuple[Child, ...]:
        """`url` is asked when the guests start: the edge listens by then."""

        def client() -> Client:
            return Client(parts.provider_fetch, url(), system_token(self.config))

        return (
            Child(
                name="page", start=lambda: PageConnector(client(), DEMO_PAGE.id, DEMO_PAGE.token), restart="transient"
            ),
            Child(name="bot", start=lambda: Bot(client(), parts.clock)),
            Child(name="people", start=lambda: _People(self._sim, url), restart="transient"),
        )


class _People:
    """Lets the simulated people's webhooks go to us, once everybody is there to hear them."""

    def __init__(self, sim: MessengerSim, url: Callable[[], str]) -> None:
        self._sim = sim
        self._url = url

    async def run(self, ctx: Context) -> None:
        self._sim.target_url = f"{self._url()}/facebook"
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()
        self._sim.target_url = None


@asynccontextmanager
async def prepared(config: Config) -> AsyncIterator[Show]:
    """Starts the simulated Messenger on a free port of loopback."""
    options = SimOptions(customers=CUSTOMERS, behaviour=LIVELY)
    sim = MessengerSim(options)
    async with sim.serving() as graph_url:
        told = settings(
            config,
            graph_url=graph_url,
            app_id=options.app_id,
            app_secret=options.app_secret,
            verify_token=options.verify_token,
        )
        yield Show(sim, told)
