"""Builds the HTTP edge of a process: provider callbacks, the API, probes and metrics, on one server."""

from collections.abc import Awaitable, Callable, Mapping

from airy import __version__
from airy.app.parts import Parts
from airy.app.status import TreeStatus
from airy.config import Config, system_token
from airy.http import metrics
from airy.http.app import Front, application
from airy.http.auth import Authenticator, Guard, OpenMode, Tokens
from airy.http.bodies import BodyLimits, BodyReader
from airy.http.cors import Cors
from airy.http.ingress import Gate, GateLimits, Ingress
from airy.http.ports import Edge
from airy.secret import Secret

SYSTEM = "system"  # the name of the configured or generated token


Read = Callable[[], Awaitable[metrics.Samples]]


def front(parts: Parts, running: frozenset[str], status: TreeStatus, read: Read) -> tuple[Front, list[Ingress]]:
    """The ASGI application of this process, and the provider endpoints in it."""
    config = parts.config
    reader = BodyReader(BodyLimits(bytes_max=config.http.body_bytes_max))
    gate = Gate(GateLimits(in_flight_max=config.http.in_flight_max))
    ingresses = {
        f"/{name}": Ingress(source, parts.bus, clock=parts.clock, ids=parts.ids, gate=gate, reader=reader)
        for name, source in parts.sources.items()
        if f"sources-{name}" in running
    }
    edge = Edge(
        commands=parts.commands,
        store=parts.store,
        queue=parts.queue,
        reached=parts.follower.reached,
        status=status,
        clock=parts.clock,
        ids=parts.ids,
        version=__version__,
        caught_up=lambda: parts.follower.caught_up,
    )
    app = application(edge, reader, Guard([authenticator(config)]), running, [metrics.route(read)])
    cors = Cors(config.http.allowed_origins)
    return Front(app, ingresses, cors=cors, ids=parts.ids), list(ingresses.values())


def authenticator(config: Config) -> Authenticator:
    if config.security.open:
        return OpenMode()
    return Tokens(tokens(config))


def tokens(config: Config) -> Mapping[str, Secret]:
    given = system_token(config)
    return {**config.security.tokens, **({SYSTEM: given} if given else {})}
