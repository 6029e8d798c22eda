"""`/processes.list`: every process of the installation, as it said in the log itself."""

from airy.http import shapes
from airy.http.action import Answer, Call, Nothing, action
from airy.http.auth import Permission
from airy.http.ports import Edge, Known
from airy.model.render import timestamp


@action("/processes.list", permission=Permission.OPERATE, body=Nothing, returns=shapes.Fleet)
async def list_(edge: Edge, _call: Call[Nothing]) -> Answer:
    """Every process that is known, how long ago it said how it was, and in how many each component is ready."""
    fleet = edge.status.fleet()
    return Answer({"data": [_render(each) for each in fleet.processes], "components": fleet.components})


def _render(known: Known) -> dict[str, object]:
    said = known.status
    return {
        "instance": said.instance,
        "url": said.url,
        "version": said.version,
        "started_at": timestamp(said.started_at_ms),
        "age_s": round(known.age_s, 3),
        "silent": known.silent,
        "ready": said.ready and not known.silent,
        "waiting_for": said.waiting_for,
        "components": {
            name: {"ready": each.ready, "restarts": each.restarts, "lag": each.lag, "rebalances": each.rebalances}
            for name, each in said.components.items()
        },
        "memory_bytes": said.memory_bytes,
        "event_loop_delay_s": said.loop_delay_ms / 1000,
        "fold": {"lag": said.fold_lag, "age_s": said.fold_age_ms / 1000, "caught_up": said.caught_up},
    }


ACTIONS = (list_,)
