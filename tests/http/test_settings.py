"""Tags, templates, metadata, channels and the client's configuration, as clients of the original use them."""

import pytest
from structlog.testing import capture_logs

from airy import topics
from airy.errors import Refused, Unavailable
from airy.http import shapes
from airy.model import ids
from airy.model.metadata import KEYS_MAX
from tests.kit.builders import PAGE, Chat, channel, raw
from tests.kit.edge import Desk, TwoPages, desk
from tests.kit.shapes import held

NOBODY = ids.derive("nobody")


# --- tags


async def test_a_tag_is_created_listed_changed_and_deleted() -> None:
    async with desk() as edge:
        tag = held(shapes.Tag, await edge.asked("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))
        assert (tag.name, tag.color) == ("urgent", "tag-red")
        assert held(shapes.Data[shapes.Tag], await edge.asked("/tags.list")).data == [tag]
        await edge.asked("/tags.update", {"id": tag.id, "name": "soon"}, status=204)
        assert (await edge.asked("/tags.list"))["data"] == [{"id": tag.id, "name": "soon", "color": "tag-red"}]
        await edge.asked("/tags.update", {"id": tag.id, "color": "tag-blue", "name": None}, status=204)
        assert (await edge.asked("/tags.list"))["data"] == [{"id": tag.id, "name": "soon", "color": "tag-blue"}]
        await edge.asked("/tags.delete", {"id": tag.id}, status=204)
        assert (await edge.asked("/tags.list"))["data"] == []
        for path in ("/tags.update", "/tags.delete"):
            await edge.asked(path, {"id": tag.id}, status=404)


async def test_there_are_four_colours() -> None:
    async with desk() as edge:
        problem = await edge.asked("/tags.create", {"name": "x", "color": "red"}, status=400)
        message = "must be one of tag-red, tag-green, tag-blue, tag-purple"
        assert problem["fields"] == [{"field": "color", "message": message}]
        problem = await edge.asked("/tags.create", {}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["name", "color"]


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/tags.create", {"name": "a", "color": "tag-red"}, {"name": "b", "color": "tag-red"}),
        ("/templates.create", {"name": "a", "source": "s", "content": 1}, {"name": "a", "source": "s", "content": 2}),
    ],
)
async def test_creating_under_one_key_creates_once(
    path: str, body: dict[str, object], other: dict[str, object]
) -> None:
    async with desk() as edge:
        first = await edge.asked(path, body, status=201, idempotency_key="k")
        assert await edge.asked(path, body, status=201, idempotency_key="k") == first
        await edge.asked(path, other, status=409, idempotency_key="k")
        assert (await edge.asked(path, body, status=201))["id"] != first["id"]


# --- templates


async def test_a_template_is_created_shown_changed_and_deleted() -> None:
    async with desk() as edge:
        content = {"message": {"text": "[[greeting]], how can I help?"}}
        given = {"name": "Greeting", "source": "facebook", "content": content}
        template = held(shapes.Template, await edge.asked("/templates.create", given, status=201))
        assert template.content == content
        assert held(shapes.Template, await edge.asked("/templates.info", {"id": template.id})) == template
        changed = await edge.asked("/templates.update", {"id": template.id, "name": "Hi", "source": "viber"})
        assert changed == {"id": template.id, "name": "Hi", "source": "viber", "content": content}
        assert (await edge.asked("/templates.update", {"id": template.id, "content": "[[x]]"}))["content"] == "[[x]]"
        await edge.asked("/templates.delete", {"id": template.id}, status=204)
        for path in ("/templates.info", "/templates.update", "/templates.delete"):
            await edge.asked(path, {"id": template.id}, status=404)


async def test_templates_are_listed_by_source_and_part_of_the_name() -> None:
    async with desk() as edge:
        for number in range(3):
            for source in ("google", "twilio.sms"):
                given = {"name": f"Template {number} for {source}", "source": source, "content": {}}
                await edge.asked("/templates.create", given, status=201)

        async def count(**body: object) -> int:
            return len(held(shapes.Data[shapes.Template], await edge.asked("/templates.list", body)).data)

        assert await count(source="google") == 3
        assert await count(source="google", name="Template") == 3
        assert await count(source="twilio.sms", name="1 for twilio") == 1
        assert await count(source="twilio.sms", name="template") == 0
        assert await count(source="viber") == 0
        problem = await edge.asked("/templates.list", status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["source"]


# --- metadata


async def test_metadata_are_set_below_user_data_on_every_subject() -> None:
    async with desk() as edge:
        chat = Chat()
        await edge.happen(channel(), chat.received("hello"))
        data = {"erp": {"id": "abc", "count": 42}, "list": ["a", 1], "flag": False, "nothing": None}
        for subject, name in (
            ("conversation", chat.conversation_id),
            ("message", chat.inbound_id("hello")),
            ("channel", chat.channel_id),
        ):
            answer = await edge.post("/metadata.upsert", {"subject": subject, "id": name, "data": data})
            assert (answer.status, answer.body) == (204, b"")
            assert (await _metadata(edge, chat, subject))["user_data"] == data
            more = {"subject": subject, "id": name, "data": {"erp": {"id": "xyz"}, "list": []}}
            await edge.asked("/metadata.upsert", more, status=204)
            found = await _metadata(edge, chat, subject)
            assert found["user_data"] == {**data, "erp": {"id": "xyz", "count": 42}, "list": []}
            gone = {"subject": subject, "id": name, "keys": ["erp", "flag", "was.never.there"]}
            await edge.asked("/metadata.remove", gone, status=204)
            assert (await _metadata(edge, chat, subject))["user_data"] == {"list": [], "nothing": None}


async def _metadata(edge: Desk, chat: Chat, subject: str) -> dict[str, object]:
    conversation = {"conversation_id": chat.conversation_id}
    found: dict[str, object]
    match subject:
        case "conversation":
            found = (await edge.asked("/conversations.info", conversation))["metadata"]
        case "channel":
            found = (await edge.asked("/channels.info", {"channel_id": chat.channel_id}))["metadata"]
        case _:
            found = (await edge.asked("/messages.list", conversation))["data"][0]["metadata"]
    return found


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"subject": "contact", "id": NOBODY, "data": {}}, 400, "subject"),
        ({"subject": "channel", "id": "x", "data": {}}, 400, "id"),
        ({"subject": "channel", "id": NOBODY}, 400, "data"),
        ({"subject": "channel", "id": NOBODY, "data": None}, 400, "data"),
        ({"subject": "channel", "id": NOBODY, "data": [1]}, 400, "data"),
        ({"subject": "channel", "id": NOBODY, "data": {"a": 1}}, 404, "id"),
        ({"subject": "message", "id": NOBODY, "data": {"a": 1}}, 404, "id"),
        ({"subject": "conversation", "id": NOBODY, "data": {"a": 1}}, 404, "id"),
    ],
)
async def test_metadata_that_cannot_be_set_name_why(body: dict[str, object], status: int, field: str) -> None:
    async with desk() as edge:
        problem = await edge.asked("/metadata.upsert", body, status=status)
        assert [fault["field"] for fault in problem["fields"]] == [field]


@pytest.mark.parametrize("subject", ["conversation", "message", "channel"])
async def test_metadata_are_bounded_and_what_is_too_much_changes_nothing(subject: str) -> None:
    async with desk() as edge:
        chat = Chat()
        await edge.happen(channel(name=None), chat.received("hello"))
        names = {"conversation": chat.conversation_id, "message": chat.inbound_id("hello"), "channel": chat.channel_id}
        about = {"subject": subject, "id": names[subject]}
        many = {f"k{number}": 1 for number in range(KEYS_MAX - 2)}
        await edge.asked("/metadata.upsert", {**about, "data": many}, status=204)
        for data in (
            {"a": 1, "b": 1, "c": 1},
            {"x": {str(number): 1 for number in range(KEYS_MAX + 1)}},
            {".".join("a" * 80): 1},
        ):
            problem = await edge.asked("/metadata.upsert", {**about, "data": data}, status=400)
            assert [fault["field"] for fault in problem["fields"]] == ["data"]
        assert (await _metadata(edge, chat, subject))["user_data"] == many
        await edge.asked("/metadata.upsert", {**about, "data": {"k1": 1}}, status=204)


@pytest.mark.parametrize("keys", [[], [""], None, "a"])
async def test_removing_needs_keys(keys: object) -> None:
    async with desk() as edge:
        problem = await edge.asked("/metadata.remove", {"subject": "channel", "id": NOBODY, "keys": keys}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["keys"]


# --- channels


async def test_a_facebook_page_is_explored_connected_and_disconnected() -> None:
    async with desk() as edge:
        listed = await edge.asked("/channels.facebook.explore", {"auth_token": TwoPages.token})
        pages = held(shapes.Data[shapes.FacebookPage], listed).data
        assert [(page.page_id, page.connected) for page in pages] == [(PAGE, False), ("204918377002", False)]
        connect = {"page_id": PAGE, "page_token": TwoPages.token, "imageUrl": "https://x.y/i.png"}
        found = held(shapes.Channel, await edge.asked("/channels.facebook.connect", connect))
        assert (found.id, found.source_channel_id, found.connected) == (channel().id, PAGE, True)
        assert found.metadata == {"name": "Page 1", "image_url": "https://x.y/i.png", "page_id": PAGE}
        again = await edge.asked("/facebook.channels.explore", {"token": TwoPages.token})
        assert [page["connected"] for page in again["data"]] == [True, False]
        await edge.asked("/channels.update", {"channel_id": found.id, "name": "Front desk"})
        for _ in range(2):
            await edge.asked("/channels.facebook.disconnect", {"channel_id": found.id}, status=204)
        assert (await edge.asked("/channels.list"))["data"] == []
        await edge.asked("/channels.info", {"channel_id": found.id}, status=404)
        await edge.asked("/channels.update", {"channel_id": found.id, "name": "x"}, status=404)
        revived = await edge.asked("/channels.facebook.connect", {**connect, "name": "Back desk"})
        assert (revived["id"], revived["metadata"]["name"]) == (found.id, "Back desk")


async def test_the_token_of_a_page_is_sealed_in_the_log_and_forgotten_when_it_is_disconnected() -> None:
    async with desk() as edge:
        connect = {"page_id": PAGE, "page_token": TwoPages.token}
        answer = await edge.post("/channels.facebook.connect", connect)
        stored = await edge.store.channel(channel().id)
        assert stored is not None
        assert stored.token
        logged = b"".join(record.value or b"" for record in await edge.records(topics.CHANNELS))
        for secret in (b"long lived token", TwoPages.token.encode()):
            assert secret not in logged + answer.body
        await edge.asked("/channels.facebook.disconnect", {"channel_id": stored.id}, status=204)
        gone = await edge.store.channel(stored.id)
        assert gone is not None
        assert gone.token is None


async def test_disconnecting_tells_the_provider_and_connecting_again_subscribes_again() -> None:
    async with desk() as edge:
        connect = {"page_id": PAGE, "page_token": TwoPages.token}
        await edge.asked("/channels.facebook.connect", connect)
        assert edge.pages.subscribed == {PAGE}
        with capture_logs() as lines:
            await edge.asked("/channels.facebook.disconnect", {"channel_id": channel().id}, status=204)
        assert edge.pages.subscribed == set()
        assert lines == []
        await edge.asked("/channels.facebook.connect", connect)
        assert edge.pages.subscribed == {PAGE}


async def test_a_provider_that_does_not_let_go_never_prevents_a_disconnect() -> None:
    async with desk() as edge:
        reasons = ["the page is restricted", Unavailable("facebook is busy"), Refused("nothing there")]
        for reason in reasons:
            await edge.asked("/channels.facebook.connect", {"page_id": PAGE, "page_token": TwoPages.token})
            edge.pages.refusal = reason if isinstance(reason, str) else None
            edge.pages.error = reason if isinstance(reason, Exception) else None
            with capture_logs() as lines:
                await edge.asked("/channels.facebook.disconnect", {"channel_id": channel().id}, status=204)
            assert (await edge.asked("/channels.list"))["data"] == []
            assert [(line["event"], line["reason"]) for line in lines] == [("channel.still_subscribed", str(reason))]


async def test_a_token_nobody_can_read_and_other_sources_do_not_ask_the_provider() -> None:
    async with desk() as edge:
        edge.pages.error = AssertionError("nobody should ask")
        for other in (channel("viber", "v1"), channel()):  # both with a token sealed elsewhere
            await edge.happen(other)
            await edge.asked("/channels.facebook.disconnect", {"channel_id": other.id}, status=204)
        assert (await edge.asked("/channels.list"))["data"] == []


async def test_what_the_provider_refuses_is_a_400_in_its_words() -> None:
    async with desk() as edge:
        problem = await edge.asked("/channels.facebook.connect", {"page_id": PAGE, "page_token": "x"}, status=400)
        assert problem["message"] == "the provider knows no such page for this token"
        await edge.asked("/channels.facebook.explore", {"auth_token": "x"}, status=400)
        problem = await edge.asked("/channels.facebook.explore", {}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["auth_token"]
        problem = await edge.asked("/channels.facebook.connect", {}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["page_id", "page_token"]
        assert (await edge.asked("/channels.list"))["data"] == []


async def test_channels_are_listed_by_source_and_have_a_name_without_metadata() -> None:
    async with desk() as edge:
        nameless = channel("viber", "v1", name=None)
        await edge.happen(channel(), nameless, channel("facebook", "gone", connected=False))
        assert {found["id"] for found in (await edge.asked("/channels.list", {}))["data"]} == {
            channel().id,
            nameless.id,
        }
        assert [found["id"] for found in (await edge.asked("/channels.list", {"source": "viber"}))["data"]] == [
            nameless.id
        ]


async def test_channels_of_any_source_are_disconnected_on_any_path_and_unknown_ones_are_a_404() -> None:
    async with desk() as edge:
        other = channel("viber", "v1")
        await edge.happen(other)
        await edge.asked("/channels.facebook.disconnect", {"channel_id": other.id}, status=204)
        await edge.asked("/channels.facebook.disconnect", {"channel_id": NOBODY}, status=404)


async def test_keys_that_once_carried_tokens_are_not_shown() -> None:
    async with desk() as edge:
        await edge.happen(channel(page_token="in the clear"))
        assert "in the clear" not in repr((await edge.post("/channels.list")).body)


# --- configuration


async def test_the_configuration_is_what_a_user_interface_expects() -> None:
    async with desk() as edge:
        config = held(shapes.Config, await edge.asked("/client.config"))
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
