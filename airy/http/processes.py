"""`/processes.*`: every process of the installation by the heartbeats in the log, and the actors of this one."""

from airy.actors.runtime import Snapshot
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import NoBody
from airy.http.ports import ApiContext
from airy.http.resource import Resource
from airy.http.response_schemas import ActorSchema, ListSchema, ProcessListSchema
from airy.model.fleet import ProcessInfo
from airy.model.render import timestamp


@action("/processes.list", permission=Permission.OPERATE, body=NoBody, returns=ProcessListSchema)
async def list_(api: ApiContext, _request: ActionRequest[NoBody]) -> Reply:
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


@action("/processes.actors", permission=Permission.OPERATE, body=NoBody, returns=ListSchema[ActorSchema])
async def actors(api: ApiContext, _request: ActionRequest[NoBody]) -> Reply:
    """The supervision tree of the process that answers: every supervisor and actor, parents before their children."""
    return Reply({"data": [_render_actor(each) for each in api.health.actors()]})


def _render_actor(node: Snapshot) -> dict[str, object]:
    return {
        "path": node.path,
        "phase": str(node.phase),
        "supervises": len(node.children),
        "restarts": node.restarts,
        "bugs": node.bugs,
        "error": node.unavailable or node.error,
        "steps": node.steps,
        "progress_age_s": round(node.progress_age_s, 3),
        "mailbox": {"used": node.mailbox_used, "capacity": node.mailbox_capacity},
    }


RESOURCE = Resource(
    name="processes",
    component="api-admin",
    actions=(list_, actors),
)
