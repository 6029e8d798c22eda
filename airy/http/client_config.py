"""`/client.config`: the start configuration of a user interface."""

from airy.http.action import ActionRequest, NoBody, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
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


@action("/client.config", permission=Permission.READ, body=NoBody, returns=ClientConfigSchema)
async def config(api: ApiContext, _request: ActionRequest[NoBody]) -> Reply:
    """Services and their health, the colours of tags, the version."""
    return Reply(
        {
            "services": api.health.services(),
            "user_profile": None,  # API tokens have no user
            "tag_config": TAG_CONFIG,
            "cluster_version": api.version,
        }
    )


ACTIONS = (config,)
