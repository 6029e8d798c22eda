"""`/client.config`: the start configuration of a user interface."""

from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Caller, CallerKind, Permission
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.resource import Resource
from airy.http.response_schemas import ClientConfigSchema


def _color(value: str, background: str, position: int) -> dict[str, object]:
    return {"default": value, "background": background, "font": value, "position": position, "border": value}


TAG_CONFIG = {
    "colors": {
        "tag-green": _color("0E764F", "F5FFFB", 3),
        "tag-blue": _color("1578D4", "F5FFFB", 1),
        "tag-red": _color("E0243A", "FFF7F9", 2),
        "tag-purple": _color("730A80", "FEF7FF", 4),
    }
}


@action("/client.config", permission=Permission.READ, body=EmptyBody, returns=ClientConfigSchema)
async def config(api: ApiContext, request: ActionRequest[EmptyBody]) -> Reply:
    """Services and their health, the colours of tags, the version."""
    return Reply(
        {
            "services": api.health.services(),
            "user_profile": _user_profile(request.caller),
            "tag_config": TAG_CONFIG,
            "cluster_version": api.version,
        }
    )


def _user_profile(caller: Caller) -> dict[str, object] | None:
    """The profile of a user; None for API tokens and other callers that are no person with a session."""
    if caller.kind is not CallerKind.USER:
        return None
    return {"id": caller.id, "name": caller.name or None, "avatar_url": caller.claims.get("picture")}


RESOURCE = Resource(name="client", component="api-admin", actions=(config,))
