"""The log lines of a fake Airy fleet, read by the code that serves `/logs.list`."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from airy.http import logs as routes
from airy.http.ports import ApiContext
from airy.http.request_bodies import convert
from airy.http_client import Response
from airy.log_ring import LogRing
from tests.kit.fake_topics import answered


class FakeLogs:
    """`rings` by instance."""

    def __init__(self) -> None:
        self.rings: dict[str, LogRing] = {}
        self._api = cast("ApiContext", SimpleNamespace(logs=SimpleNamespace(rings=lambda: self.rings)))

    def write(self, instance: str, second: int, event: str, level: str = "info", **fields: object) -> None:
        ring = self.rings.setdefault(instance, LogRing(epoch=f"run of {instance}"))
        time = f"2026-01-01T09:{second // 60:02}:{second % 60:02}.250000Z"
        ring.append(msgspec.json.encode({"timestamp": time, "level": level, "event": event, **fields}))

    def restart(self, instance: str) -> None:
        """The process runs anew: its former lines are gone."""
        self.rings[instance] = LogRing(epoch=f"another run of {instance}")

    async def answer(self, path: str, body: dict[str, Any]) -> Response | None:
        """None for another path."""
        if path != "/logs.list":
            return None
        return await answered(routes.list_, self._api, convert(body, routes.ListLogs))
