"""`/channels.*` as clients of the original Airy use them."""

import anyio
from structlog.testing import capture_logs

from airy import topics
from airy.errors import Refused, Unavailable
from airy.http.response_schemas import (
    ChannelSchema,
    ListedChannelSchema,
    ListSchema,
)
from airy.model import ids
from tests.kit.api import PUBLIC_URL, FakePages, api_harness
from tests.kit.builders import PAGE, Chat, channel
from tests.kit.response_schemas import validated

UNKNOWN_ID = ids.derive("unknown")


async def test_a_facebook_page_is_explored_connected_and_disconnected() -> None:
    """FB-6, H4, H5, H6."""
    async with api_harness() as api:
        listed = await api.call("/channels.facebook.explore", {"auth_token": FakePages.token})
        pages = listed["data"]
        assert {field for page in pages for field in page} == {"page_id", "name", "image_url", "connected"}
        assert [(page["page_id"], page["connected"]) for page in pages] == [(PAGE, False), ("204918377002", False)]
        connect = {"page_id": PAGE, "page_token": FakePages.token, "imageUrl": "https://x.y/i.png"}
        found = validated(ChannelSchema, await api.call("/channels.facebook.connect", connect))
        assert (found.id, found.source_channel_id, found.connected) == (channel().id, PAGE, True)
        assert found.metadata == {"name": "Page 1", "image_url": "https://x.y/i.png", "page_id": PAGE}
        again = await api.call("/facebook.channels.explore", {"token": FakePages.token})
        assert [page["connected"] for page in again["data"]] == [True, False]
        await api.call("/channels.update", {"channel_id": found.id, "name": "Front desk"})
        for _ in range(2):
            await api.call("/channels.facebook.disconnect", {"channel_id": found.id}, status=204)
        assert (await api.call("/channels.list"))["data"] == []
        await api.call("/channels.info", {"channel_id": found.id}, status=404)
        await api.call("/channels.update", {"channel_id": found.id, "name": "x"}, status=404)
        revived = await api.call("/channels.facebook.connect", {**connect, "name": "Back desk"})
        assert (revived["id"], revived["metadata"]["name"]) == (found.id, "Back desk")


async def test_a_listed_channel_has_its_address_and_the_times_of_its_last_messages() -> None:
    async with api_harness() as api:
        chat, quiet = Chat(), channel("twilio.sms")
        await api.append(channel(), quiet, chat.received("a"), chat.queued("b"))
        listed = validated(ListSchema[ListedChannelSchema], await api.call("/channels.list")).data
        found = {each.source: each for each in listed}
        assert found["facebook"].webhook_url == f"{PUBLIC_URL}/facebook"
        assert found["twilio.sms"].webhook_url == f"{PUBLIC_URL}/twilio#rc=3&rp=ct,rt,5xx"
        page = found["facebook"]
        assert page.last_inbound_at is not None
        assert page.last_outbound_at is not None
        assert (found["twilio.sms"].last_inbound_at, found["twilio.sms"].last_outbound_at) == (None, None)
        info = await api.call("/channels.info", {"channel_id": page.id})
        assert validated(ListedChannelSchema, info) == page


async def test_a_channel_of_another_source_with_a_pages_id_does_not_make_the_page_connected() -> None:
    async with api_harness() as api:
        await api.append(channel("viber"))
        listed = await api.call("/channels.facebook.explore", {"auth_token": FakePages.token})

        assert [page["connected"] for page in listed["data"]] == [False, False]


async def test_a_page_token_is_sealed_in_the_log_and_removed_on_disconnect() -> None:
    async with api_harness() as api:
        connect = {"page_id": PAGE, "page_token": FakePages.token}
        answer = await api.post("/channels.facebook.connect", connect)
        stored = await api.store.channel(channel().id)
        assert stored is not None
        assert stored.token
        logged = b"".join(record.value or b"" for record in await api.records(topics.CHANNELS))
        for secret in (b"long lived token", FakePages.token.encode()):
            assert secret not in logged + answer.body
        await api.call("/channels.facebook.disconnect", {"channel_id": stored.id}, status=204)
        gone = await api.store.channel(stored.id)
        assert gone is not None
        assert gone.token is None


async def test_disconnecting_unsubscribes_the_page_and_connecting_subscribes_it_again() -> None:
    async with api_harness() as api:
        connect = {"page_id": PAGE, "page_token": FakePages.token}
        await api.call("/channels.facebook.connect", connect)
        assert api.pages.subscribed == {PAGE}
        with capture_logs() as lines:
            await api.call("/channels.facebook.disconnect", {"channel_id": channel().id}, status=204)
        assert api.pages.subscribed == set()
        assert lines == []
        await api.call("/channels.facebook.connect", connect)
        assert api.pages.subscribed == {PAGE}


async def test_a_failure_of_the_provider_never_prevents_a_disconnect() -> None:
    async with api_harness() as api:
        reasons = ["the page is restricted", Unavailable("facebook is busy"), Refused("nothing there")]
        for reason in reasons:
            await api.call("/channels.facebook.connect", {"page_id": PAGE, "page_token": FakePages.token})
            api.pages.refusal = reason if isinstance(reason, str) else None
            api.pages.error = reason if isinstance(reason, Exception) else None
            with capture_logs() as lines:
                await api.call("/channels.facebook.disconnect", {"channel_id": channel().id}, status=204)
            assert (await api.call("/channels.list"))["data"] == []
            assert [(line["event"], line["reason"]) for line in lines] == [("channel.still_subscribed", str(reason))]


async def test_a_provider_that_asks_for_fewer_calls_gets_none_until_then_and_the_caller_is_told() -> None:
    async with api_harness() as api:
        api.pages.busy = Unavailable("facebook is busy", retry_after_s=600.0)
        body = {"auth_token": FakePages.token}
        answers = [await api.post("/channels.facebook.explore", body) for _ in range(3)]

        assert [answer.status for answer in answers] == [503, 503, 503]
        assert [answer.headers["retry-after"] for answer in answers] == ["600", "600", "600"]
        assert api.pages.explored == 1
        api.pages.busy = None
        await anyio.sleep(601)
        await api.call("/channels.facebook.explore", body)


async def test_an_unreadable_token_or_another_source_disconnects_without_the_provider() -> None:
    async with api_harness() as api:
        api.pages.error = AssertionError("the provider must not be called")
        for other in (channel("viber", "v1"), channel()):  # both with a token sealed elsewhere
            await api.append(other)
            await api.call("/channels.facebook.disconnect", {"channel_id": other.id}, status=204)
        assert (await api.call("/channels.list"))["data"] == []


async def test_a_refusal_of_the_provider_is_a_400_with_its_message() -> None:
    async with api_harness() as api:
        problem = await api.call("/channels.facebook.connect", {"page_id": PAGE, "page_token": "x"}, status=400)
        assert problem["message"] == "the provider knows no such page for this token"
        await api.call("/channels.facebook.explore", {"auth_token": "x"}, status=400)
        problem = await api.call("/channels.facebook.explore", {}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["auth_token"]
        problem = await api.call("/channels.facebook.connect", {}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["page_id", "page_token"]
        assert (await api.call("/channels.list"))["data"] == []


async def test_channels_are_listed_by_source_and_have_a_name_without_metadata() -> None:
    async with api_harness() as api:
        nameless = channel("viber", "v1", name=None)
        await api.append(channel(), nameless, channel("facebook", "gone", connected=False))
        assert {found["id"] for found in (await api.call("/channels.list", {}))["data"]} == {
            channel().id,
            nameless.id,
        }
        assert [found["id"] for found in (await api.call("/channels.list", {"source": "viber"}))["data"]] == [
            nameless.id
        ]


async def test_a_channel_of_any_source_can_be_disconnected_and_an_unknown_one_is_a_404() -> None:
    async with api_harness() as api:
        other = channel("viber", "v1")
        await api.append(other)
        await api.call("/channels.facebook.disconnect", {"channel_id": other.id}, status=204)
        await api.call("/channels.facebook.disconnect", {"channel_id": UNKNOWN_ID}, status=404)


async def test_metadata_keys_that_once_held_tokens_are_not_returned() -> None:
    async with api_harness() as api:
        await api.append(channel(page_token="in the clear"))
        assert "in the clear" not in repr((await api.post("/channels.list")).body)


async def test_outer_white_space_of_what_connects_a_channel_does_not_count() -> None:
    async with api_harness() as api:
        padded = {"page_id": f" {PAGE}\n", "page_token": f"\n{FakePages.token} \n", "name": " Front desk "}

        found = await api.call("/channels.facebook.connect", padded)

        assert (found["source_channel_id"], found["metadata"]["name"]) == (PAGE, "Front desk")
        listed = await api.call("/channels.facebook.explore", {"auth_token": " ", "token": f"{FakePages.token}\n"})
        assert len(listed["data"]) == 2


async def test_a_token_with_an_invisible_character_is_refused_by_field_and_not_shown() -> None:
    async with api_harness() as api:
        for inner, name in {"\0": "NUL", "\n": "a line break", "\u200b": "U+200B"}.items():
            connect = {"page_id": PAGE, "page_token": f"hunter2{inner}hunter2"}

            problem = await api.call("/channels.facebook.connect", connect, status=400)

            assert [error["field"] for error in problem["fields"]] == ["page_token"]
            assert f"contains {name} at character 8" in problem["message"]
            assert "hunter2" not in problem["message"]
        for blank in ("", " \n"):
            problem = await api.call("/channels.facebook.connect", {"page_id": PAGE, "page_token": blank}, status=400)
            assert problem["message"] == "page_token is required"


# --- chat plugin


async def test_every_connect_of_a_chat_plugin_makes_a_channel() -> None:
    """The plugin's part of E06 and E07."""
    async with api_harness() as api:
        connect = {"name": "shop", "imageUrl": "https://x.y/i.png"}
        one, two = [validated(ChannelSchema, await api.call("/channels.chatplugin.connect", connect)) for _ in range(2)]
        assert one.id != two.id
        assert (one.source, one.source_channel_id, one.connected) == ("chatplugin", "shop", True)
        assert one.metadata == {"name": "shop", "image_url": "https://x.y/i.png"}

        for _ in range(2):
            await api.call("/channels.chatplugin.disconnect", {"channel_id": one.id}, status=204)
        assert [channel["id"] for channel in (await api.call("/channels.list"))["data"]] == [two.id]


async def test_a_repeated_connect_of_a_chat_plugin_with_one_key_makes_one_channel() -> None:
    async with api_harness() as api:
        first = await api.call("/channels.chatplugin.connect", {"name": "shop"}, idempotency_key="k")
        await api.call("/channels.update", {"channel_id": first["id"], "name": "Rye & Co"})
        again = await api.call("/channels.chatplugin.connect", {"name": "shop"}, idempotency_key="k")

        assert (again["id"], again["metadata"]["name"]) == (first["id"], "Rye & Co")
        await api.call("/channels.chatplugin.connect", {"name": "bar"}, status=409, idempotency_key="k")


async def test_a_chat_plugin_needs_a_name() -> None:
    async with api_harness() as api:
        await api.call("/channels.chatplugin.connect", {"name": " "}, status=400)
