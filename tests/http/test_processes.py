"""`/processes.*`: the last report and the supervision tree of every process, for callers who may operate."""

from msgspec.structs import replace

from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.response_schemas import ListSchema, ProcessListSchema, ProcessTreeSchema
from airy.model.fleet import ComponentCount, FleetStatus, ProcessInfo
from airy.model.process_status import ActorStatus, ActorTree, ComponentStatus, ProcessStatus
from tests.kit.api import api_harness
from tests.kit.builders import START_MS
from tests.kit.response_schemas import validated

STATUS = ProcessStatus(
    instance="one:8081",
    url="http://one:8081",
    version="1.2.3",
    started_at_ms=START_MS,
    at_ms=START_MS + 60_000,
    heartbeat_interval_ms=5_000,
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
    """Authenticates every request as a caller with every permission but operate."""

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("reader", frozenset(Permission) - {Permission.OPERATE})


async def test_a_process_is_listed_with_its_last_report_and_its_age() -> None:
    async with api_harness() as api:
        api.health.fleet_status = FleetStatus(
            [ProcessInfo(STATUS, 1.23456, False)],
            {"http": ComponentCount(1, 1), "webhook-publisher": ComponentCount(1, 0)},
        )
        answer = await api.call("/processes.list")

    validated(ProcessListSchema, answer)
    assert answer["data"] == [
        {
            "instance": "one:8081",
            "url": "http://one:8081",
            "version": "1.2.3",
            "started_at": "2026-01-01T00:00:00.000Z",
            "age_s": 1.235,
            "stale": False,
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


async def test_a_stale_process_is_never_ready() -> None:
    async with api_harness() as api:
        api.health.fleet_status = FleetStatus([ProcessInfo(STATUS, 42.0, True)], {})
        (one,) = (await api.call("/processes.list"))["data"]

    assert (one["ready"], one["stale"], one["age_s"]) == (False, True, 42.0)


async def test_listing_processes_needs_the_operate_permission() -> None:
    async with api_harness(authenticators=[Reader()]) as api:
        assert (await api.post("/processes.list", {})).status == 403
        assert (await api.post("/processes.actors", {})).status == 403
        assert (await api.post("/client.config", {})).status == 200


TREE = ActorTree(
    (
        ActorStatus(path="airy", phase="ready", supervises=1),
        ActorStatus(
            path="airy/store", phase="backing_off", restarts=2, error="disk: full", steps=7, progress_age_s=1.5
        ),
    ),
    omitted=3,
)


async def test_the_supervision_tree_of_every_process_is_listed_with_its_age() -> None:
    async with api_harness() as api:
        api.health.tree = ActorTree((ActorStatus(path="airy", phase="starting"),))
        api.health.fleet_status = FleetStatus([ProcessInfo(replace(STATUS, tree=TREE), 42.1234, True)])
        answer = await api.call("/processes.actors")
        named = await api.call("/processes.actors", {"process": "one:8081"})
        unknown = await api.post("/processes.actors", {"process": "two:8081"})

    validated(ListSchema[ProcessTreeSchema], answer)
    own, other = answer["data"]
    assert (own["answering"], own["age_s"], own["actors"][0]["phase"]) == (True, 0.0, "starting")
    assert named["data"] == [other]
    assert unknown.status == 404
    actors = other.pop("actors")
    assert other == {
        "instance": "one:8081",
        "answering": False,
        "at": "2026-01-01T00:01:00.000Z",
        "age_s": 42.123,
        "stale": True,
        "omitted": 3,
    }
    assert [(each["path"], each["supervises"]) for each in actors] == [("airy", 1), ("airy/store", 0)]
    assert actors[1] == {
        "path": "airy/store",
        "phase": "backing_off",
        "supervises": 0,
        "restarts": 2,
        "bugs": 0,
        "error": "disk: full",
        "steps": 7,
        "progress_age_s": 1.5,
        "mailbox": {"used": 0, "capacity": 0},
    }
