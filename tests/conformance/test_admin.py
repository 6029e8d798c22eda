"""Channels, tags, templates, users and the configuration of clients, as the original's own tests expect them."""

from typing import Any

import pytest

from tests.kit.api import JWT_SECRET
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.conformance import OTHER, installation
from tests.kit.jwt import signed_token, user_claims

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def test_adm_1_h1_h2_h3_connected_channels_are_listed_and_renamed() -> None:
    async with installation() as airy:
        chat = Chat()
        nameless = channel()
        nameless.metadata.clear()
        await airy.api.append(nameless, channel("instagram", OTHER, connected=False))
        (listed,) = (await airy.call("channels.list", {}))["data"]
        assert listed["id"] == chat.channel_id
        reference = {"channel_id": chat.channel_id}
        found = await airy.call("channels.info", reference)
        assert found["metadata"]["name"] == f"facebook {chat.channel_id[31:]}"
        renamed = await airy.call("channels.update", {**reference, "name": "Bakery", "imageUrl": "https://x.y/z.png"})
        assert (renamed["id"], renamed["source"]) == (chat.channel_id, "facebook")
        found = await airy.call("channels.info", reference)
        assert found["metadata"] == {"name": "Bakery", "image_url": "https://x.y/z.png"}


async def test_adm_2_t1_a_tag_lives() -> None:
    async with installation() as airy:
        made = await airy.call("tags.create", {"name": "urgent", "color": "tag-red"}, 201)
        assert (await airy.call("tags.list"))["data"] == [made]
        await airy.call("tags.update", {"id": made["id"], "name": "later"}, 204)
        assert (await airy.call("tags.list"))["data"] == [{**made, "name": "later"}]
        await airy.call("tags.delete", {"id": made["id"]}, 204)
        assert (await airy.call("tags.list"))["data"] == []


async def test_adm_3_t2_a_template_lives() -> None:
    async with installation() as airy:
        content = {"message": {"text": "[[greeting]], how can we help?"}}
        made = await airy.call("templates.create", {"name": "hello", "source": "google", "content": content}, 201)
        assert await airy.call("templates.info", {"id": made["id"]}) == made
        assert made["content"] == content
        changed = await airy.call("templates.update", {"id": made["id"], "name": "welcome", "source": "twilio.sms"})
        assert changed == {**made, "name": "welcome", "source": "twilio.sms"}
        assert await airy.call("templates.info", {"id": made["id"]}) == changed
        await airy.call("templates.delete", {"id": made["id"]}, 204)
        await airy.call("templates.info", {"id": made["id"]}, 404)


async def test_adm_3_t3_templates_are_listed_by_source_and_part_of_the_name() -> None:
    async with installation() as airy:
        for source, count in (("google", 10), ("twilio.sms", 5)):
            for number in range(count):
                body = {"name": f"awesome-template-{number}", "source": source, "content": {"text": "x"}}
                await airy.call("templates.create", body, 201)

        async def count_of(source: str, name: str | None = None) -> int:
            return len((await airy.call("templates.list", {"source": source, "name": name}))["data"])

        assert (await count_of("google"), await count_of("twilio.sms")) == (10, 5)
        assert (await count_of("google", "awesome"), await count_of("twilio.sms", "awesome")) == (10, 5)
        assert (await count_of("google", "awesome-template-1"), await count_of("twilio.sms", "late-4")) == (1, 1)
        await airy.call("templates.list", None, 400)


async def test_adm_4_u1_users_are_those_who_wrote() -> None:
    async with installation() as airy:
        for name in ("rosa", "ada"):
            claims = user_claims(f"github:{name}", expires_at_s=START_MS / 1000 + 9e6, name=name)
            tag = {"name": name, "color": "tag-red"}
            await airy.call("tags.create", tag, 201, Authorization=signed_token(claims, JWT_SECRET))
        assert [each["id"] for each in (await airy.call("users.list"))["data"]] == ["github:ada", "github:rosa"]


async def test_adm_6_c1_the_configuration_has_services_and_the_colours_of_tags() -> None:
    async with installation() as airy:
        airy.api.health.off = {"webhook-publisher"}
        found = await airy.call("client.config")
        services: dict[str, Any] = found["services"]
        assert services["webhook-publisher"] == {"enabled": False, "healthy": False, "component": "integration-webhook"}
        assert services["api-communication"]["healthy"]
        assert found["tag_config"].keys() == {"colors"}
        assert len(found["tag_config"]["colors"]) == 4
        for color in found["tag_config"]["colors"].values():
            assert color.keys() == {"default", "background", "font", "position", "border"}
        assert found["user_profile"] is None


async def test_adm_5_n1_n2_n3_n4_n5_a_webhook_lives() -> None:
    async with installation() as airy:
        await airy.call("webhooks.info", {"id": "3e8b3f6a-0000-4000-8000-000000000000"}, 404)
        body = {"url": "https://crm.example.net/hook", "name": "CRM", "headers": {"X-Team": "support"}}
        airy.api.health.off = {"webhook-publisher"}
        await airy.call("webhooks.subscribe", body, 409)
        airy.api.health.off = set()
        made = await airy.call("webhooks.subscribe", {**body, "events": ["message.created"]})
        assert (made["name"], made["url"], set(made["headers"])) == ("CRM", body["url"], {"X-Team"})
        await airy.call("webhooks.update", {"id": made["id"], "events": ["message.created", "message.updated"]})
        found = await airy.call("webhooks.info", {"id": made["id"]})
        assert found["events"] == ["message.created", "message.updated"]
        ended = await airy.call("webhooks.unsubscribe", {"id": made["id"]})
        assert (ended["status"], ended["url"], set(ended["headers"])) == ("Unsubscribed", body["url"], {"X-Team"})
        assert [each["id"] for each in (await airy.call("webhooks.list"))["data"]] == [made["id"]]
