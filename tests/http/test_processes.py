"""`/processes.list`: what every process said of itself, for who may operate."""

from airy.http import shapes
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.ports import Fleet, Known, Share
from airy.model.process import ComponentStatus, ProcessStatus
from tests.kit.builders import START_MS
from tests.kit.edge import desk
from tests.kit.shapes import held

SAID = ProcessStatus(
    instance="one:8081",
    url="http://one:8081",
    version="1.2.3",
    started_at_ms=START_MS,
    at_ms=START_MS + 60_000,
    beat_ms=5_000,
    ready=True,
    waiting_for={"airy/webhooks/publisher": "redis is away"},
    components={
        "webhook-publisher": ComponentStatus(ready=False, restarts=2, lag=7, rebalances=1),
        "http": ComponentStatus(ready=True),
    },
    memory_bytes=88_080_384,
    fold_lag=5,
    fold_age_ms=250,
    caught_up=True,
    loop_delay_ms=12,
)


class Reader:
    """Lets everybody in who may do no more than read."""

    def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("reader", frozenset(Permission) - {Permission.OPERATE})


async def test_a_process_is_told_with_all_it_said_and_how_long_ago_that_was() -> None:
    async with desk() as edge:
        edge.status.told = Fleet([Known(SAID, 1.23456, False)], {"http": Share(1, 1), "webhook-publisher": Share(1, 0)})
        answer = await edge.asked("/processes.list")

    held(shapes.Fleet, answer)
    assert answer["data"] == [
        {
            "instance": "one:8081",
            "url": "http://one:8081",
            "version": "1.2.3",
            "started_at": "2026-01-01T00:00:00.000Z",
            "age_s": 1.235,
            "silent": False,
            "ready": True,
            "waiting_for": {"airy/webhooks/publisher": "redis is away"},
            "components": {
                "webhook-publisher": {"ready": False, "restarts": 2, "lag": 7, "rebalances": 1},
                "http": {"ready": True, "restarts": 0, "lag": None, "rebalances": None},
            },
            "memory_bytes": 88_080_384,
            "event_loop_delay_s": 0.012,
            "fold": {"lag": 5, "age_s": 0.25, "caught_up": True},
        }
    ]
    assert answer["components"] == {
        "http": {"processes": 1, "ready": 1},
        "webhook-publisher": {"processes": 1, "ready": 0},
    }


async def test_who_is_silent_is_not_ready_whatever_it_said() -> None:
    async with desk() as edge:
        edge.status.told = Fleet([Known(SAID, 42.0, True)], {})
        (one,) = (await edge.asked("/processes.list"))["data"]

    assert (one["ready"], one["silent"], one["age_s"]) == (False, True, 42.0)


async def test_who_may_not_operate_sees_no_processes() -> None:
    async with desk(authenticators=[Reader()]) as edge:
        assert (await edge.post("/processes.list", {})).status == 403
        assert (await edge.post("/client.config", {})).status == 200
