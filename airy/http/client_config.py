"""`/client.config`: what a user interface needs to know before it shows anything."""

from airy.http import shapes
from airy.http.action import Answer, Call, Nothing, action
from airy.http.auth import Permission
from airy.http.ports import Edge


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


@action("/client.config", permission=Permission.READ, body=Nothing, returns=shapes.Config)
async def config(edge: Edge, _call: Call[Nothing]) -> Answer:
    """Services and their health, the colours of tags, the version."""
    return Answer(
        {
            "services": edge.status.services(),
            "user_profile": None,  # a token is nobody
            "tag_config": TAG_CONFIG,
            "cluster_version": edge.version,
        }
    )


ACTIONS = (config,)
