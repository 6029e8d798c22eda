"""`/processes.*`: every process of the installation by the heartbeats in the log, and their supervision trees."""

from typing import Final

from msgspec import Struct

from airy.commands.errors import NotFound
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText
from airy.http.resource import Resource
from airy.http.response_schemas import ListSchema, ProcessListSchema, ProcessTreeSchema
from airy.model.fleet import ProcessInfo
from airy.model.process_status import ActorStatus, ActorTree
from airy.model.render import timestamp

TREES_MAX: Final = 100  # in one answer
ALONE: Final = "this process"  # until it has a name


@action("/processes.list", permission=Permission.OPERATE, body=EmptyBody, returns=ProcessListSchema)
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """Every known process with its last heartbeat, and the number of processes in which each component is ready."""
    fleet = api.health.fleet()
    return Reply({"data": [_render(each) for each in fleet.processes], "components": fleet.components})


def _render(process: ProcessInfo) -> dict[str, object]:
    status = process.status
    return {
        "instance": status.instance,
        "url": status.url,
        "version": status.version,
        "started_at": timestamp(status.started_at_ms),
        "age_s": round(process.age_s, 3),
        "stale": process.stale,
        "ready": status.ready and not process.stale,
        "waiting_for": status.waiting_for,
        "components": {
            name: {"ready": each.ready, "restarts": each.restarts, "lag": each.lag, "rebalances": each.rebalances}
            for name, each in status.components.items()
        },
        "memory_bytes": status.memory_bytes,
        "event_loop_delay_s": status.loop_delay_ms / 1000,
        "fold": {"lag": status.fold_lag, "age_s": status.fold_age_ms / 1000, "caught_up": status.caught_up},
    }


class ProcessActors(Struct, frozen=True):
    process: FilledText | None = None  # None: all


@action("/processes.actors", permission=Permission.OPERATE, body=ProcessActors, returns=ListSchema[ProcessTreeSchema])
async def actors(api: ApiContext, request: ActionRequest[ProcessActors]) -> Reply:
    """The supervision tree of one process or of each: every supervisor and actor. The process that answers is first,
    with its tree of now; those of the others are of their last heartbeats.
    """
    own, wanted, now_ms = api.configuration.instance(), request.body.process, api.clock.now_ms()
    found = [_tree(own or ALONE, api.health.actors(), now_ms, answering=True)]
    found += [
        _tree(each.status.instance, each.status.tree, each.status.at_ms, age_s=each.age_s, stale=each.stale)
        for each in api.health.fleet().processes
        if each.status.instance != own
    ]
    if wanted is None:
        return Reply({"data": found[:TREES_MAX]})
    chosen = [each for each in found if each["instance"] == wanted]
    if not chosen:
        raise NotFound(f"no process is called {wanted[:128]!r}; processes.list has them", field="process")
    return Reply({"data": chosen})


def _tree(
    instance: str, tree: ActorTree, at_ms: int, *, age_s: float = 0.0, answering: bool = False, stale: bool = False
) -> dict[str, object]:
    return {
        "instance": instance,
        "answering": answering,
        "at": timestamp(at_ms),
        "age_s": round(age_s, 3),
        "stale": stale,
        "omitted": tree.omitted,
        "actors": [_render_actor(each) for each in tree.actors],
    }


def _render_actor(node: ActorStatus) -> dict[str, object]:
    return {
        "path": node.path,
        "phase": node.phase,
        "supervises": node.supervises,
        "restarts": node.restarts,
        "bugs": node.bugs,
        "error": node.error,
        "steps": node.steps,
        "progress_age_s": node.progress_age_s,
        "mailbox": {"used": node.mailbox_used, "capacity": node.mailbox_capacity},
    }


RESOURCE = Resource(
    name="processes",
    component="api-admin",
    actions=(list_, actors),
)
