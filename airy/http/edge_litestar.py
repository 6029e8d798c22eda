"""The Litestar application of a process: the actions of the API with metrics and logins."""

from collections.abc import Awaitable, Callable, Sequence

from litestar import Litestar
from msgspec import Struct

from airy.http import metrics
from airy.http.app import litestar_app
from airy.http.auth import Guard
from airy.http.body_reader import BodyReader
from airy.http.login.routes import LoginRoutes
from airy.http.ports import ApiContext
from airy.http.resource import Resource


class LitestarParts(Struct, frozen=True, kw_only=True):
    """What the handlers reach. `login` is None where no logins are served."""

    api: ApiContext
    reader: BodyReader
    guard: Guard
    login: LoginRoutes | None
    samples: Callable[[], Awaitable[metrics.Samples]]


BuildLitestar = Callable[[Sequence[Resource], LitestarParts], Litestar]


def build_litestar(resources: Sequence[Resource], parts: LitestarParts) -> Litestar:
    login = () if parts.login is None else parts.login.handlers()
    return litestar_app(parts.api, parts.reader, parts.guard, resources, [metrics.route(parts.samples), *login])
