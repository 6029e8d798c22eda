"""`/client.config` as clients of the original Airy use it."""

from airy.http.response_schemas import (
    ClientConfigSchema,
)
from tests.kit.api import api_harness
from tests.kit.builders import raw
from tests.kit.response_schemas import validated


async def test_the_configuration_has_services_tag_colours_and_the_version() -> None:
    async with api_harness() as api:
        config = validated(ClientConfigSchema, await api.call("/client.config"))
        assert config.services["api-communication"] == {
            "enabled": True,
            "healthy": True,
            "component": "api-communication",
        }
        assert config.user_profile is None
        assert config.cluster_version == "1.2.3"
        colors = config.tag_config["colors"]
        assert set(colors) == {"tag-red", "tag-green", "tag-blue", "tag-purple"}
        assert all(set(each) == {"default", "background", "font", "position", "border"} for each in colors.values())
        assert raw(config.tag_config)
