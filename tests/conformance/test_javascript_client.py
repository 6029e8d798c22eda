"""The calls of the original's JavaScript client: exactly its requests, and what it reads from the answers.

The client sends `Content-Type: application/json` with an empty body for a call without arguments, snake_case for most
arguments and camelCase for some, and converts the keys of answers to camelCase.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from msgspec import Struct

from airy.http.catalogue import ACTIONS
from airy.http.request_bodies import convert
from airy.model import ids
from tests.kit.api import TOKEN
from tests.kit.builders import Chat
from tests.kit.conformance import FiveConversations, Installation, installation

PAGE, SECOND_PAGE, PAGE_TOKEN = "204918377001", "204918377002", "user token"
TAG = ids.derive("tag", "client")
MESSAGE = ("id", "content", "delivery_state", "from_contact", "sent_at", "source", "metadata", "sender.id")
CONVERSATION = (
    "id",
    "created_at",
    "channel.id",
    "channel.source",
    "channel.connected",
    "channel.metadata.name",
    "metadata.contact.display_name",
    "metadata.unread_count",
    *(f"last_message.{key}" for key in MESSAGE),
)
CHANNEL = ("id", "source", "source_channel_id", "connected", "metadata.name")
PAGINATION = ("pagination_data.previous_cursor", "pagination_data.next_cursor", "pagination_data.total")
WEBHOOK = ("id", "name", "url", "events", "headers", "status")
CONTACT = ("id", "display_name", "title", "via", "address.address_line1", "address.city", "conversations")
NOTHING: tuple[str, ...] = ()


class World:
    """Ids that later calls take from earlier answers, by the name of the call."""

    def __init__(self) -> None:
        self.of = FiveConversations()
        self.answers: dict[str, Any] = {}

    @property
    def conversation(self) -> str:
        return self.of.names[4]

    @property
    def failed_message(self) -> str:
        return self.of.chats[4].outbound_id("failed")

    def id_of(self, call: str) -> Any:
        return self.answers[call]["id"]


class Call(Struct, frozen=True):
    method: str  # of the client
    endpoint: str
    body: Callable[[World], object] | None  # None: an empty body
    reads: tuple[str, ...]  # paths in the answer; of the first of `data` for a list
    status: int = 200


def items(*paths: str) -> tuple[str, ...]:
    return tuple(f"data.0.{path}" for path in paths)


CALLS = (
    Call("getConfig", "client.config", None, ("services", "user_profile", "tag_config.colors", "cluster_version")),
    Call("listChannels", "channels.list", None, items(*CHANNEL)),
    Call(
        "exploreFacebookChannels",
        "facebook.channels.explore",
        lambda _: {"token": PAGE_TOKEN},
        items("page_id", "name", "image_url", "connected"),
    ),
    Call(
        "exploreFacebookChannels with authToken",
        "facebook.channels.explore",
        lambda _: {"authToken": PAGE_TOKEN},
        items("page_id", "name", "image_url", "connected"),
    ),
    Call(
        "connectFacebookChannel",
        "channels.facebook.connect",
        lambda _: {
            "page_id": SECOND_PAGE,
            "page_token": PAGE_TOKEN,
            "name": "Bakery",
            "image_url": "https://x.y/z.png",
        },
        (*CHANNEL, "metadata.image_url"),
    ),
    Call(
        "connectChatPluginChannel",
        "channels.chatplugin.connect",
        lambda _: {"name": "Shop", "imageUrl": "https://x.y/z.png"},
        (*CHANNEL, "metadata.image_url"),
    ),
    Call(
        "updateChannel",
        "channels.update",
        lambda world: {
            "channel_id": world.id_of("connectChatPluginChannel"),
            "name": "Shop",
            "image_url": "https://x.y",
        },
        CHANNEL,
    ),
    Call(
        "disconnectChannel",
        "channels.chatplugin.disconnect",
        lambda world: {"channel_id": world.id_of("connectChatPluginChannel")},
        NOTHING,
        204,
    ),
    Call(
        "disconnectChannel of another source by the path of the first call",
        "channels.chatplugin.disconnect",
        lambda world: {"channel_id": world.id_of("connectFacebookChannel")},
        NOTHING,
        204,
    ),
    Call(
        "listConversations",
        "conversations.list",
        lambda _: {"page_size": 50, "cursor": None, "filters": "id:* AND NOT metadata.state:CLOSED"},
        (*items(*CONVERSATION), *PAGINATION),
    ),
    Call(
        "getConversationInfo",
        "conversations.info",
        lambda world: {"conversation_id": world.conversation},
        CONVERSATION,
    ),
    Call(
        "readConversations",
        "conversations.mark-read",
        lambda world: {"conversation_id": world.conversation},
        NOTHING,
        204,
    ),
    Call("createTag", "tags.create", lambda _: {"name": "urgent", "color": "tag-red"}, ("id", "name", "color"), 201),
    Call("listTags", "tags.list", None, items("id", "name", "color")),
    Call(
        "updateTag",
        "tags.update",
        lambda world: {"id": world.id_of("createTag"), "name": "later", "color": "tag-blue"},
        NOTHING,
        204,
    ),
    Call(
        "tagConversation",
        "conversations.tag",
        lambda world: {"conversation_id": world.conversation, "tag_id": world.id_of("createTag")},
        NOTHING,
        204,
    ),
    Call(
        "untagConversation",
        "conversations.untag",
        lambda world: {"conversation_id": world.conversation, "tag_id": world.id_of("createTag")},
        NOTHING,
        204,
    ),
    Call("deleteTag", "tags.delete", lambda world: {"id": world.id_of("createTag")}, NOTHING, 204),
    Call(
        "setStateConversation",
        "conversations.set-state",
        lambda world: {"conversation_id": world.conversation, "state": "CLOSED"},
        NOTHING,
        204,
    ),
    Call(
        "updateConversationContactInfo",
        "conversations.update-contact",
        lambda world: {"conversation_id": world.conversation, "display_name": "Grace"},
        NOTHING,
        204,
    ),
    Call(
        "listMessages",
        "messages.list",
        lambda world: {"conversation_id": world.conversation, "cursor": None, "page_size": 50},
        (*items(*MESSAGE), *PAGINATION),
    ),
    Call(
        "sendMessages",
        "messages.send",
        lambda world: {"conversation_id": world.conversation, "message": {"text": "Yes."}},
        MESSAGE,
    ),
    Call("resendMessage", "messages.resend", lambda world: {"message_id": world.failed_message}, NOTHING),
    Call(
        "metadataUpsert",
        "metadata.upsert",
        lambda world: {"id": world.conversation, "subject": "conversation", "data": {"crm": {"id": "1"}}},
        NOTHING,
        204,
    ),
    Call("listTemplates", "templates.list", lambda _: {"source": "facebook"}, items("id", "name", "source", "content")),
    Call(
        "listContacts",
        "contacts.list",
        lambda _: {"page_size": 50, "cursor": None},
        (*items(*CONTACT), *PAGINATION),
    ),
    Call("getContactDetails", "contacts.info", lambda world: {"conversation_id": world.conversation}, CONTACT),
    Call(
        "updateContactDetails",
        "contacts.update",
        lambda world: {
            "id": world.id_of("getContactDetails"),
            "title": "Buyer",
            "display_name": "Grace",
            "organization_name": "Eckert",
            "address": {"address_line1": "Elm 1", "city": "Berlin"},
            "via": {"phone": "+49", "email": "g@example.net"},
        },
        NOTHING,
        202,
    ),
    Call("deleteContact", "contacts.delete", lambda world: {"id": world.id_of("getContactDetails")}, NOTHING, 202),
    Call(
        "subscribeWebhook",
        "webhooks.subscribe",
        lambda _: {
            "name": "CRM",
            "url": "https://crm.example.net/hook",
            "events": ["message.created"],
            "headers": {"X-Team": "support"},
            "signatureKey": "a-key-of-the-user-interface",
        },
        WEBHOOK,
    ),
    Call("listWebhooks", "webhooks.list", None, items(*WEBHOOK)),
    Call(
        "updateWebhook",
        "webhooks.update",
        lambda world: {
            "id": world.id_of("subscribeWebhook"),
            "name": "CRM",
            "url": "https://crm.example.net/hook",
            "events": ["message.created", "conversation.updated"],
            "headers": {"X-Team": "support"},
            "status": "Subscribed",
            "signatureKey": "a-key-of-the-user-interface",
        },
        WEBHOOK,
    ),
    Call(
        "unsubscribeWebhook",
        "webhooks.unsubscribe",
        lambda world: {"id": world.id_of("subscribeWebhook"), "url": "https://crm.example.net/hook"},
        WEBHOOK,
    ),
)

CONNECTED_AT_THE_PROVIDER = {
    "channels.instagram.connect": {"page_id": PAGE, "page_token": PAGE_TOKEN, "account_id": "17"},
    "channels.whatsapp.connect": {"phone_number_id": "108811223344556", "user_token": PAGE_TOKEN, "name": "Bakery"},
    "channels.twilio.sms.connect": {"phone_number": "+49 30 1", "name": "Hotline"},
    "channels.twilio.whatsapp.connect": {"phone_number": "+49 30 1", "name": "Hotline"},
    "channels.viber.connect": {"name": "Bakery"},
    "channels.google.connect": {"gbm_id": "an agent", "name": "Bakery"},
}
NOT_SERVED = {
    **dict.fromkeys(
        ("components.install", "components.uninstall"),
        "nothing is installed at run time",
    ),
    **dict.fromkeys(
        ("streams.list", "streams.info", "streams.create", "streams.delete", "kafka/topics/a"), "no stream processor"
    ),
    **dict.fromkeys(
        ("llm.info", "llm.stats", "llm.query", "llm-consumers.list", "llm-consumers.create", "llm-consumers.delete"),
        "the original's server does not have them either",
    ),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_call_of_the_client_gets_what_it_reads() -> None:
    world = World()
    wrong: dict[str, object] = {}
    async with installation() as airy:
        await prepare(airy, world)
        for each in CALLS:
            answer = await airy.post(each.endpoint, each.body(world) if each.body else None)
            world.answers[each.method] = answer.document if answer.body else None
            if answer.status != each.status:
                wrong[each.method] = (answer.status, answer.body)
            elif missing := [path for path in each.reads if not has(world.answers[each.method], path)]:
                wrong[each.method] = missing
            elif not each.reads and answer.body:
                wrong[each.method] = f"a body: {answer.body!r}"
    assert wrong == {}


async def prepare(airy: Installation, world: World) -> None:
    await world.of.write(airy)
    chat: Chat = world.of.chats[4]
    await airy.api.append(chat.queued("failed"), chat.started("failed"), chat.failed("failed"))
    await airy.call("templates.create", {"name": "hello", "source": "facebook", "content": {"message": {}}}, 201)


def has(document: Any, path: str) -> bool:
    """Whether there is a value; null is one."""
    for name in path.split("."):
        if isinstance(document, list):
            if len(document) <= int(name):
                return False
            document = document[int(name)]
        elif isinstance(document, dict) and name in document:
            document = document[name]
        else:
            return False
    return True


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_client_uploads_a_file_as_a_form() -> None:
    async with installation() as airy:
        form = aiohttp.FormData()
        form.add_field("file", b"GIF89a\x01\x00\x01\x00", filename="holiday.gif", content_type="image/gif")
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Requested-With": "XMLHttpRequest"}
        async with airy.session.post(f"{airy.url}/media.upload", data=form, headers=headers) as answer:
            assert answer.status == 200
            assert urlsplit((await answer.json())["media_url"]).path.endswith(".gif")


@pytest.mark.parametrize("path", CONNECTED_AT_THE_PROVIDER)
def test_the_bodies_of_other_connects_are_valid(path: str) -> None:
    (found,) = [each for each in ACTIONS if each.paths[0] == f"/{path}"]
    convert(CONNECTED_AT_THE_PROVIDER[path], found.body.types[0])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_the_client_could_call_and_is_not_served_is_a_404() -> None:
    async with installation() as airy:
        assert {path for path in NOT_SERVED if (await airy.post(path, {})).status != 404} == set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_caller_that_is_not_logged_in_gets_a_403_and_no_redirect() -> None:
    """The client opens the login page on 403."""
    async with installation() as airy:
        answer = await airy.post("conversations.list", None, Authorization="Bearer none")
        assert (answer.status, "location" in answer.headers) == (403, False)
