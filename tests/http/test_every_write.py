"""Every action that writes: an idempotency key makes its repetition harmless, and its answer has a position (G6).

The tables name each one, and a new action fails the test until it is in one of them.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from airy import topics
from airy.bus.dead_letter import make_dead_letter
from airy.bus.record import Record
from airy.http.auth import Permission
from airy.http.catalogue import ACTIONS
from airy.model.entity import User
from tests.kit.api import ApiHarness, api_harness, position_of
from tests.kit.asgi import AsgiResponse, call
from tests.kit.builders import Chat, channel, dead

CREATING_VERBS = {"create", "import", "connect", "subscribe", "send", "upload"}
READING = {  # need more than READ, and write nothing
    "/tokens.list",
    "/components.get",
    "/components.list",
    "/components.plan",
    "/processes.actors",
    "/processes.list",
    "/dead-letters.list",
    "/dead-letters.info",
    "/messages.trace",
    "/topics.list",
    "/logs.list",
    "/topics.browse",
    "/channels.facebook.explore",
    "/chatplugin.config",
    "/chatplugin.resumeToken",
    "/sources.list",
    "/sources.info",
    "/sources.channels.list",
}
WITHOUT_POSITION = {
    "/components.update": "the configuration is not in the log",
    "/media.upload": "files are outside of the log",
    "/conversations.typing": "a signal is not in the log",
    "/webhooks.test": "a test delivers no change",
    "/dead-letters.discard": "its readers read the log itself",
    "/dead-letters.replay": "likewise, and raw webhooks are not folded",
    "/chatplugin.authenticate": "a visit is not stored before its first message; resuming returns one",
}
CONNECTED_BY_PROVIDERS = {  # the channel's id is derived from the provider's account, as Facebook's
    f"/channels.{kind}.connect"
    for kind in ("instagram", "twilio.sms", "twilio.whatsapp", "telegram", "viber", "google", "rcs", "whatsapp")
}
WITH_A_SOURCE = {each.paths[0] for each in ACTIONS if each.permission is Permission.INGEST}
PAGE = {"page_id": "204918377001", "page_token": "user token"}
CONTENT = {"text": "Hello"}
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s.txt"\r\n\r\n%s\r\n--b--\r\n'  # name and bytes


class World(Struct):
    """An installation with one of everything."""

    api: ApiHarness
    chat: Chat
    visitor: str = ""  # token
    source: str = ""  # likewise

    async def post(self, path: str, body: object, **headers: str) -> AsgiResponse:
        if path == "/media.upload":
            headers["content_type"] = "multipart/form-data; boundary=b"
        if path.startswith("/chatplugin."):
            headers["authorization"] = f"Bearer {self.visitor}"
        if path in WITH_A_SOURCE:
            headers["authorization"] = f"Bearer {self.source}"
        return await self.api.post(path, body, **headers)


async def made(api: ApiHarness) -> World:
    chat = Chat()
    await api.append(channel(), chat.received("question"))
    widget = (await api.call("/channels.chatplugin.connect", {"name": "shop"}))["id"]
    answer = await call(
        api.app,
        "POST",
        "/chatplugin.authenticate",
        body=msgspec.json.encode({"channel_id": widget}),
        headers=[("content-type", "application/json")],
    )
    source = await api.call("/sources.create", {"source_id": "crm"})
    return World(api, chat, answer.json()["token"], source["token"])


# --- keys

Same = Callable[[Any], object]


def by_id(answer: Any) -> object:
    return answer["id"]


CREATES: dict[str, tuple[object, object, Same]] = {  # a body, another one, what identifies the result
    "/tags.create": ({"name": "a", "color": "tag-red"}, {"name": "b", "color": "tag-red"}, by_id),
    "/templates.create": (
        {"name": "a", "source": "facebook", "content": CONTENT},
        {"name": "b", "source": "facebook", "content": CONTENT},
        by_id,
    ),
    "/contacts.create": ({"display_name": "Ines"}, {"display_name": "Ada"}, by_id),
    "/contacts.import": (
        [{"display_name": "Ines"}, {"display_name": "Jo"}],
        [{"display_name": "Ada"}],
        lambda answer: ([each["id"] for each in answer["data"]]),
    ),
    "/tokens.create": ({"name": "a", "role": "agent"}, {"name": "b", "role": "agent"}, by_id),
    "/channels.chatplugin.connect": ({"name": "a"}, {"name": "b"}, by_id),
    "/messages.send": (
        {"conversation_id": Chat().conversation_id, "message": CONTENT},
        {"conversation_id": Chat().conversation_id, "message": {"text": "Bye"}},
        by_id,
    ),
    "/chatplugin.send": ({"message": CONTENT}, {"message": {"text": "Bye"}}, by_id),
}
OVERWRITES: dict[str, tuple[object, object, Same]] = {  # another body under the same key changes what it made
    "/webhooks.subscribe": ({"url": "https://example.org/a"}, {"url": "https://example.org/b"}, by_id),
}
NAMED_BY_CONTENT: dict[str, tuple[object, object, Same]] = {  # the same whatever the key
    "/channels.facebook.connect": (PAGE, {**PAGE, "page_id": "204918377002"}, by_id),
    "/sources.channels.create": (
        {"source_channel_id": "a", "name": "A"},
        {"source_channel_id": "b", "name": "B"},
        by_id,
    ),
    "/media.upload": (FORM % (b"a", b"a"), FORM % (b"b", b"b"), lambda answer: answer["media_url"]),
}
NAMED_BY_CALLERS: dict[str, tuple[dict[str, object], dict[str, object]]] = {  # a second one of that name is a 409
    "/sources.create": ({"source_id": "erp"}, {"source_id": "erp", "name": "ERP"}),
}


def test_every_action_that_creates_is_in_a_table() -> None:
    creating = {each.paths[0] for each in ACTIONS if each.paths[0].rpartition(".")[2] in CREATING_VERBS}
    tables = {*CREATES, *OVERWRITES, *NAMED_BY_CONTENT, *NAMED_BY_CALLERS, *CONNECTED_BY_PROVIDERS}
    assert tables == creating


@pytest.mark.parametrize("path", [*CREATES, *OVERWRITES])
async def test_repetitions_under_one_key_create_once(path: str) -> None:
    body, _, same = {**CREATES, **OVERWRITES}[path]
    async with api_harness() as api:
        world = await made(api)
        first = await world.post(path, body, idempotency_key="k")
        again = await world.post(path, body, idempotency_key="k")
        other = await world.post(path, body, idempotency_key="another")
        assert first.status == again.status == other.status < 300, (first.body, again.body, other.body)
        assert same(first.json()) == same(again.json()) != same(other.json())


@pytest.mark.parametrize("path", CREATES)
async def test_a_key_with_another_content_is_a_409_that_names_it(path: str) -> None:
    body, another, _ = CREATES[path]
    async with api_harness() as api:
        world = await made(api)
        assert (await world.post(path, body, idempotency_key="k")).status < 300
        conflict = await world.post(path, another, idempotency_key="k")
        assert conflict.status == 409, conflict.body
        assert [each["field"] for each in conflict.json()["fields"]] == ["idempotency_key"]


@pytest.mark.parametrize("path", CREATES)
async def test_without_a_key_every_request_creates(path: str) -> None:
    body, _, same = CREATES[path]
    async with api_harness() as api:
        world = await made(api)
        one, two = await world.post(path, body), await world.post(path, body)
        assert same(one.json()) != same(two.json())


@pytest.mark.parametrize("path", NAMED_BY_CONTENT)
async def test_what_its_content_names_is_created_once_with_or_without_a_key(path: str) -> None:
    body, another, same = NAMED_BY_CONTENT[path]
    async with api_harness() as api:
        world = await made(api)
        first, again = await world.post(path, body), await world.post(path, body, idempotency_key="k")
        other = await world.post(path, another, idempotency_key="k")
        assert same(first.json()) == same(again.json()) != same(other.json())


@pytest.mark.parametrize("path", NAMED_BY_CALLERS)
async def test_what_its_caller_names_is_repeated_under_its_key_only(path: str) -> None:
    body, another = NAMED_BY_CALLERS[path]
    async with api_harness() as api:
        world = await made(api)
        first = await world.post(path, body, idempotency_key="k")
        again = await world.post(path, body, idempotency_key="k")
        assert first.status == again.status < 300
        assert first.json() == again.json()
        for refused in (
            await world.post(path, another, idempotency_key="k"),
            await world.post(path, body, idempotency_key="another"),
            await world.post(path, body),
        ):
            assert refused.status == 409, refused.body


async def test_keys_belong_to_their_caller() -> None:
    async with api_harness() as api:
        world = await made(api)
        grant = {"name": "clerk", "role": "agent"}
        clerk = f"Bearer {(await api.call('/tokens.create', grant, status=201))['token']}"
        for path in ("/tags.create", "/templates.create", "/contacts.create", "/messages.send"):
            body, _, same = CREATES[path]
            mine = await world.post(path, body, idempotency_key="k")
            theirs = await world.post(path, body, idempotency_key="k", authorization=clerk)
            assert same(mine.json()) != same(theirs.json()), path


# --- positions


async def writes(world: World) -> dict[str, object]:
    """A valid body of every action that writes, in an order in which each succeeds."""
    api, chat = world.api, world.chat
    conversation = {"conversation_id": chat.conversation_id}
    await api.append(chat.queued("x"), chat.started("x"), chat.failed("x"), chat.queued("y"))
    tag = (await api.call("/tags.create", {"name": "a", "color": "tag-red"}, status=201))["id"]
    template = {"name": "a", "source": "facebook", "content": CONTENT}
    template_id = (await api.call("/templates.create", template, status=201))["id"]
    contacts = [(await api.call("/contacts.create", {"display_name": n}, status=201))["id"] for n in ("a", "b", "c")]
    hook = (await api.call("/webhooks.subscribe", {"url": "https://example.org/a"}))["id"]
    token = (await api.call("/tokens.create", {"name": "a", "role": "agent"}, status=201))["id"]
    widget = (await api.call("/channels.chatplugin.connect", {"name": "a"}))["id"]
    user = User(id="github:ines", name="Ines")
    delivery = dead(1, hook)
    raw_topic = topics.source_events("facebook")
    letters = topics.dead_letters_of(raw_topic.name)
    assert letters is not None
    originals = [Record(raw_topic.name, 0, number, b"page", b"{}", (), 0) for number in (1, 2)]
    await api.bus.publish([make_dead_letter(letters, each, "no", 1) for each in originals])
    await api.writer.write([topics.USERS.record(user.id, user), topics.DEAD_DELIVERIES.record(delivery.id, delivery)])
    planned = (await api.call("/components.plan"))["fingerprint"]
    suggestions = {"a": {"content": CONTENT}}
    metadata = {"subject": "conversation", "id": chat.conversation_id}
    bodies = {path: body for table in (CREATES, OVERWRITES, NAMED_BY_CONTENT) for path, (body, *_) in table.items()}
    bodies |= {path: body for path, (body, _) in NAMED_BY_CALLERS.items()}
    made_by_source = await world.post("/sources.channels.create", {"source_channel_id": "a", "name": "A"})
    message = {
        "source_message_id": "m",
        "source_conversation_id": "c",
        "source_channel_id": "a",
        "source_sender_id": "s",
        "content": "hello",
        "sent_at": 1_735_689_600_000,
        "from_contact": True,
    }
    bodies |= {
        "/sources.update": {"source_id": "crm", "name": "CRM"},
        "/sources.webhook": {"messages": [message]},
        "/sources.channels.disconnect": {"channel_id": made_by_source.json()["id"]},
        "/sources.rotate-token": {"source_id": "erp"},
        "/sources.delete": {"source_id": "erp"},
        "/tokens.revoke": {"id": token},
        "/channels.update": {"channel_id": chat.channel_id, "name": "b"},
        "/channels.chatplugin.configure": {"channel_id": widget, "config": {}},
        "/components.update": {"fingerprint": planned},
        "/contacts.update": {"id": contacts[0], "title": "Dr"},
        "/contacts.merge": {"source_id": contacts[1], "destination_id": contacts[0]},
        "/contacts.delete": {"id": contacts[2]},
        "/conversations.mark-read": conversation,
        "/conversations.typing": conversation,
        "/conversations.tag": {**conversation, "tag_id": tag},
        "/conversations.untag": {**conversation, "tag_id": tag},
        "/conversations.set-state": {**conversation, "state": "OPEN"},
        "/conversations.remove-state": conversation,
        "/conversations.update-contact": {**conversation, "display_name": "Ines"},
        "/conversations.refetch": conversation,
        "/messages.resend": {"message_id": chat.outbound_id("x")},
        "/messages.cancel": {"message_id": chat.outbound_id("y")},
        "/messages.suggest-replies": {"message_id": chat.inbound_id("question"), "suggestions": suggestions},
        "/metadata.upsert": {**metadata, "data": {"a": 1}},
        "/metadata.remove": {**metadata, "keys": ["a"]},
        "/tags.update": {"id": tag, "name": "b", "color": "tag-blue"},
        "/tags.delete": {"id": tag},
        "/templates.update": {"id": template_id, "name": "b", "source": "facebook", "content": CONTENT},
        "/templates.delete": {"id": template_id},
        "/users.revoke-sessions": {"id": user.id},
        "/webhooks.update": {"id": hook, "name": "b"},
        "/webhooks.rotate-secret": {"id": hook},
        "/webhooks.test": {"id": hook},
        "/webhooks.replay": {"delivery_id": delivery.delivery_id},
        "/webhooks.unsubscribe": {"id": hook},
        "/webhooks.delete": {"id": hook},
        "/dead-letters.replay": {"ids": [f"{raw_topic.name}/0/1"]},
        "/dead-letters.discard": {"ids": [f"{raw_topic.name}/0/2"]},
    }
    disconnects = {each.paths[0] for each in ACTIONS if each.paths[0].endswith(".disconnect")} - WITH_A_SOURCE
    return bodies | {path: {"channel_id": chat.channel_id} for path in disconnects}


async def test_every_write_answers_the_position_from_which_it_is_read() -> None:
    async with api_harness() as api:
        world = await made(api)
        bodies = await writes(world)
        writing = {each.paths[0] for each in ACTIONS if each.permission is not Permission.READ} - READING
        assert {*bodies, *CONNECTED_BY_PROVIDERS, "/chatplugin.authenticate"} == writing
        problems: dict[str, object] = {}
        for path, body in bodies.items():
            answer = await world.post(path, body)
            if answer.status >= 300 or ("x-airy-position" in answer.headers) is (path in WITHOUT_POSITION):
                problems[path] = (answer.status, answer.body)
            elif path not in WITHOUT_POSITION:
                assert position_of(answer).offset >= 0
        assert problems == {}
