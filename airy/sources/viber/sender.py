"""Under which name and picture a bot's messages are shown. Pure."""

from airy.model import metadata
from airy.model.entity import Channel

NAME_CHARACTERS_MAX = 28


def of(channel: Channel) -> dict[str, str]:
    name = metadata.text(channel.metadata, "name") or channel.source_channel_id
    avatar = metadata.text(channel.metadata, "image_url")
    return {"name": name[:NAME_CHARACTERS_MAX], **({"avatar": avatar} if avatar else {})}
