"""`/chatplugin.*` as widgets use them, and against callers that try more than they may."""

from typing import Any

import anyio
import msgspec
import pytest

from airy import topics
from airy.commands import VisitorSettings
from airy.commands.visitors import OVERLAP_MS
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, CallerKind
from airy.http.response_schemas import ChannelSchema, VisitorMessageSchema, VisitStartSchema, WidgetSchema
from airy.http.websocket import WebsocketLimits
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import MessageQueued, SendStarted, SendSucceeded
from airy.permissions import PERMISSIONS, Role
from airy.rate_limit import RateLimiter, RateLimits
from tests.kit.api import ORIGIN, TOKEN, ApiHarness, api_harness
from tests.kit.asgi import AsgiResponse, call
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import Chat, channel, raw
from tests.kit.response_schemas import validated
from tests.kit.stomp_client import StompClient

SITE, OTHER_SITE = "https://bakery.example", "https://elsewhere.example"
HOUR_MS = 3_600_000
OVERLAP_S = OVERLAP_MS / 1000
SHOP = ids.derive("shop")


async def connected(api: ApiHarness, name: str = "shop") -> str:
    return str((await api.call("/channels.chatplugin.connect", {"name": name}))["id"])


async def asked(api: ApiHarness, path: str, body: object = None, token: str = "", **headers: str) -> AsgiResponse:
    """A request of a widget: with the token of its visit, or none."""
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    given |= {"authorization": f"Bearer {token}"} if token else {}
    return await call(api.app, "POST", path, body=msgspec.json.encode(body or {}), headers=given.items())


async def begun(api: ApiHarness, channel_id: str, **headers: str) -> dict[str, Any]:
    answer = await asked(api, "/chatplugin.authenticate", {"channel_id": channel_id}, **headers)
    assert answer.status == 200, answer.body
    validated(VisitStartSchema, answer.json())
    return dict(answer.json())


async def resumed(api: ApiHarness, resume_token: str, status: int = 200) -> dict[str, Any]:
    answer = await asked(api, "/chatplugin.authenticate", {"resume_token": resume_token})
    assert answer.status == status, (answer.status, answer.body)
    return dict(answer.json())


async def says(api: ApiHarness, token: str, text: str = "Is the rye bread back?", **headers: str) -> dict[str, Any]:
    answer = await asked(api, "/chatplugin.send", {"message": {"text": text}}, token, **headers)
    assert answer.status == 200, (answer.status, answer.body)
    return dict(answer.json())


async def answered(
    api: ApiHarness, conversation_id: str, channel_id: str, content: object, *, sent: bool = True
) -> str:
    """An agent's message, as the API and the connector append it."""
    message_id = ids.derive("answer", str(content))
    base: dict[str, Any] = {
        "conversation_id": conversation_id,
        "channel_id": channel_id,
        "source": "chatplugin",
        "at_ms": 1_767_225_700_000,
        "message_id": message_id,
    }
    await api.append(MessageQueued(id=ids.derive(message_id, "q"), sender_id="agent", content=raw(content), **base))
    if sent:
        await api.append(
            SendStarted(id=ids.derive(message_id, "s"), attempt=1, worker="w", **base),
            SendSucceeded(id=ids.derive(message_id, "d"), attempt=1, provider_id=message_id, **base),
        )
    return message_id


async def delivery_state(api: ApiHarness, message_id: str) -> str:
    message = await api.store.message(message_id)
    assert message is not None
    return message.delivery.value


# --- the journey of a visitor


async def test_a_visitor_writes_and_agents_see_a_conversation_with_a_name() -> None:
    """L1, the part over HTTP."""
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        assert visit["messages"] == []
        message = validated(VisitorMessageSchema, await says(api, visit["token"]))
        (conversation,) = (await api.call("/conversations.list"))["data"]
        listed = (await api.call("/messages.list", {"conversation_id": conversation["id"]}))["data"]

        assert (message.delivery_state, message.from_contact, message.source) == ("delivered", True, "chatplugin")
        assert (message.content, message.metadata, message.sender.id) == (
            {"text": "Is the rye bread back?"},
            None,
            conversation["id"],
        )
        assert conversation["channel"]["id"] == channel_id
        assert conversation["metadata"]["contact"]["display_name"] == f"Chatplugin {conversation['id'][31:]}"
        assert [(each["id"], each["canonical"]) for each in listed] == [
            (message.id, [{"type": "text", "text": "Is the rye bread back?"}])
        ]


async def test_a_visit_that_says_nothing_leaves_no_record() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        for _ in range(3):
            visit = await resumed(api, visit["resume_token"])

        assert await api.records(topics.EVENTS) == []


async def test_a_conversation_is_resumed_with_its_messages_oldest_first() -> None:
    """L2, CH-2."""
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        first = await says(api, visit["token"])
        await answered(api, first["sender"]["id"], channel_id, {"canonical": {"type": "text", "text": "Yes."}})
        token = (await asked(api, "/chatplugin.resumeToken", None, visit["token"])).json()["resume_token"]
        again = await resumed(api, token)

        assert [each["content"] for each in again["messages"]] == [{"text": "Is the rye bread back?"}, {"text": "Yes."}]
        assert {each["delivery_state"] for each in again["messages"]} == {"delivered"}
        second = await says(api, again["token"], "Thanks!")
        assert second["sender"]["id"] == first["sender"]["id"]


async def test_what_a_visitor_was_handed_is_delivered_and_what_is_not_sent_stays_hidden() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        conversation_id = (await says(api, visit["token"]))["sender"]["id"]
        shown = await answered(api, conversation_id, channel_id, {"text": "Yes."})
        hidden = await answered(api, conversation_id, channel_id, {"text": "Wait."}, sent=False)
        assert await delivery_state(api, shown) == "sent"
        again = await resumed(api, visit["resume_token"])

        assert [each["id"] for each in again["messages"]][1:] == [shown]
        assert await delivery_state(api, shown) == "delivered"
        assert await delivery_state(api, hidden) == "pending"


async def test_a_message_that_is_sent_twice_is_one_message() -> None:
    """X-1."""
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        message = {"text": "Hello", "postbackData": "p"}
        body = {"id": "widget-1", "message": message}
        reordered = {**body, "message": dict(reversed(message.items()))}
        answers = [await asked(api, "/chatplugin.send", each, visit["token"]) for each in (body, reordered)]
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await asked(api, "/chatplugin.send", {**body, "message": {"text": "Bye"}}, visit["token"])
        assert other.status == 409
        assert [each["content"] for each in (await resumed(api, visit["resume_token"]))["messages"]] == [message]


async def test_an_answer_of_a_send_has_a_position_that_agents_can_read_at() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        answer = await asked(api, "/chatplugin.send", {"message": "hi"}, visit["token"])
        listed = await api.call("/conversations.list", x_airy_position=answer.headers["x-airy-position"])
        assert len(listed["data"]) == 1


# --- resume tokens


async def test_each_use_of_a_resume_token_replaces_it() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        await says(api, visit["token"])
        tokens = [visit["resume_token"]]
        for _ in range(3):
            await anyio.sleep(OVERLAP_S + 1)
            tokens.append((await resumed(api, tokens[-1]))["resume_token"])
        assert len(set(tokens)) == 4


async def test_a_replaced_token_ends_the_tokens_of_the_conversation_and_its_visits() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        await says(api, visit["token"])
        stolen = visit["resume_token"]
        owner = await resumed(api, stolen)
        await anyio.sleep(OVERLAP_S + 1)

        await resumed(api, stolen, 401)
        await resumed(api, owner["resume_token"], 401)
        for token in (visit["token"], owner["token"]):
            assert (await asked(api, "/chatplugin.send", {"message": "x"}, token)).status == 403
            assert (await asked(api, "/chatplugin.resumeToken", None, token)).status == 403
        assert (await begun(api, channel_id))["messages"] == []


async def test_two_tabs_that_resume_at_once_both_succeed_and_share_the_new_token() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        await says(api, visit["token"])
        answers: list[dict[str, Any]] = []

        async def tab() -> None:
            answers.append(await resumed(api, visit["resume_token"]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tab)
            tasks.start_soon(tab)
        assert len({answer["resume_token"] for answer in answers}) == 1
        await anyio.sleep(OVERLAP_S + 1)
        await resumed(api, answers[0]["resume_token"])


async def test_reusable_tokens_are_those_of_the_original() -> None:
    async with api_harness(visitors=VisitorSettings(rotating=False)) as api:
        visit = await begun(api, await connected(api))
        await says(api, visit["token"])
        for _ in range(3):
            await anyio.sleep(OVERLAP_S + 1)
            assert len((await resumed(api, visit["resume_token"]))["messages"]) == 1


async def test_an_operator_gets_a_resume_token_for_any_conversation_of_the_channel() -> None:
    """L3."""
    async with api_harness() as api:
        channel_id = await connected(api)
        body = {"channel_id": channel_id, "conversation_id": ids.derive("arbitrary")}
        token = (await api.call("/chatplugin.resumeToken", body))["resume_token"]
        assert (await resumed(api, token))["messages"] == []

        await api.call("/chatplugin.resumeToken", {}, status=400)
        await api.call("/chatplugin.resumeToken", {**body, "channel_id": ids.derive("none")}, status=404)
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        await api.call("/chatplugin.resumeToken", {**body, "conversation_id": chat.conversation_id}, status=404)


# --- what a token does not open


@pytest.mark.parametrize(
    "path",
    ["/conversations.list", "/messages.list", "/messages.send", "/channels.list", "/webhooks.list", "/tokens.list"],
)
async def test_a_visitors_token_opens_no_route_of_agents(path: str) -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        assert (await asked(api, path, None, visit["token"])).status == 403


async def test_a_token_of_one_kind_is_not_one_of_another() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        await resumed(api, visit["token"], 401)
        assert (await asked(api, "/chatplugin.send", {"message": "x"}, visit["resume_token"])).status == 403


async def test_a_token_that_was_changed_in_any_place_is_no_token() -> None:
    async with api_harness() as api:
        token = (await begun(api, await connected(api)))["token"]
        head, claims, signature = token.split(".")
        forged = [
            f"{head}.{claims}.",
            f"{head}.{claims[:-4]}{claims[-4:][::-1]}.{signature}",
            f"eyJhbGciOiJub25lIn0.{claims}.",
            f"eyJhbGciOiJub25lIn0.{claims}.{signature}",
            "x" * 10_000,
        ]
        for each in forged:
            assert (await asked(api, "/chatplugin.send", {"message": "x"}, each)).status == 403
            await resumed(api, each, 400 if len(each) > 8_192 else 401)


async def test_a_visit_ends_after_an_hour_and_a_resume_token_after_a_week() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        api.clock.set(HOUR_MS)
        assert (await asked(api, "/chatplugin.send", {"message": "x"}, visit["token"])).status == 403
        renewed = await resumed(api, visit["resume_token"])
        api.clock.set((1 + 7 * 24) * HOUR_MS)
        await resumed(api, renewed["resume_token"], 401)


async def test_a_token_of_one_channel_resumes_nothing_of_another() -> None:
    async with api_harness() as api:
        visit, other = await begun(api, await connected(api)), await connected(api, "bar")
        answer = await asked(
            api, "/chatplugin.authenticate", {"resume_token": visit["resume_token"], "channel_id": other}
        )
        assert answer.status == 401


async def test_a_channel_that_is_disconnected_unknown_or_no_chat_plugin_takes_nothing() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        await api.call("/channels.chatplugin.disconnect", {"channel_id": channel_id}, status=204)
        await api.append(channel())
        for each in (channel_id, channel().id, ids.derive("none")):
            assert (await asked(api, "/chatplugin.authenticate", {"channel_id": each})).status == 404
            assert (await asked(api, "/chatplugin.config", {"channel_id": each})).status == 404
        await resumed(api, visit["resume_token"], 404)
        assert (await asked(api, "/chatplugin.send", {"message": "x"}, visit["token"])).status == 404


@pytest.mark.parametrize("body", [{}, {"channel_id": None}, {"resume_token": " "}])
async def test_neither_a_channel_nor_a_token_is_a_400(body: dict[str, Any]) -> None:
    async with api_harness() as api:
        assert (await asked(api, "/chatplugin.authenticate", body)).status == 400


async def test_the_system_token_is_no_visitor() -> None:
    async with api_harness() as api:
        await api.call("/chatplugin.send", {"message": "x"}, status=403)


async def test_a_store_that_is_behind_answers_503_because_it_may_not_know_a_revocation() -> None:
    caught_up = True
    async with api_harness(caught_up=lambda: caught_up) as api:
        visit = await begun(api, await connected(api))
        caught_up = False
        assert (await asked(api, "/chatplugin.send", {"message": "x"}, visit["token"])).status == 503


async def test_a_replica_that_is_behind_resumes_nothing_because_the_token_may_be_replaced() -> None:
    async def current(_conversation_id: str) -> bool:
        return False

    async with api_harness(visitors=VisitorSettings(current=current)) as api:
        visit = await begun(api, await connected(api))
        await resumed(api, visit["resume_token"], 503)


# --- origins


async def configured(api: ApiHarness, channel_id: str, status: int = 200, **given: object) -> Any:
    return await api.call("/channels.chatplugin.configure", {"channel_id": channel_id, **given}, status=status)


async def test_a_widget_runs_on_every_website_until_the_channel_names_some() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        answer = await asked(api, "/chatplugin.authenticate", {"channel_id": channel_id}, origin=OTHER_SITE)
        assert answer.headers["access-control-allow-origin"] == OTHER_SITE
        assert "access-control-allow-credentials" not in answer.headers
        visit = answer.json()
        await configured(api, channel_id, allowed_origins=[f"{SITE}/"])

        for path, body, token in (
            ("/chatplugin.authenticate", {"channel_id": channel_id}, ""),
            ("/chatplugin.authenticate", {"resume_token": visit["resume_token"]}, ""),
            ("/chatplugin.send", {"message": "x"}, visit["token"]),
            ("/chatplugin.resumeToken", {}, visit["token"]),
            ("/chatplugin.config", {"channel_id": channel_id}, ""),
        ):
            statuses = {
                origin: (await asked(api, path, body, token, origin=origin)).status
                for origin in (SITE, ORIGIN, OTHER_SITE, "null")
            }
            assert statuses == {SITE: 200, ORIGIN: 200, OTHER_SITE: 403, "null": 403}, path


async def test_a_foreign_website_gets_no_further_than_the_routes_of_widgets() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        for path in ("/channels.list", "/channels.chatplugin.configure", "/channels.chatplugin.connect"):
            assert (await api.post(path, {"channel_id": channel_id}, origin=SITE)).status == 403


async def test_a_visitor_uploads_from_the_website_of_the_channel_and_nothing_else_does() -> None:
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'

    async def uploaded(token: str, origin: str) -> int:
        headers = {"content-type": "multipart/form-data; boundary=b", "origin": origin, "authorization": token}
        return (await call(api.app, "POST", "/media.upload", body=form, headers=headers.items())).status

    async with api_harness() as api:
        channel_id = await connected(api)
        visit = await begun(api, channel_id)
        await configured(api, channel_id, allowed_origins=[SITE])
        assert [await uploaded(visit["token"], origin) for origin in (SITE, ORIGIN, OTHER_SITE)] == [200, 200, 403]
        assert [await uploaded(TOKEN, origin) for origin in (SITE, ORIGIN)] == [403, 200]


async def test_a_preflight_of_a_widget_is_allowed_without_cookies() -> None:
    async with api_harness() as api:
        headers = {"origin": SITE, "access-control-request-method": "POST"}
        answer = await call(api.app, "OPTIONS", "/chatplugin.send", headers=headers.items())
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, SITE)
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        refused = await call(api.app, "OPTIONS", "/channels.list", headers=headers.items())
        assert refused.status == 403


# --- the widget's configuration

CONFIG = {
    "headerText": "Rye & Co",
    "primaryColor": "#1578D4",
    "height": "700",
    "hideEmojis": "false",
    "welcomeMessage": {"text": "Good morning", "quick_replies": []},
    "closeMode": "medium",
}


async def test_the_configuration_of_a_widget_is_kept_and_served() -> None:
    async with api_harness() as api:
        channel_id = await connected(api)
        assert (
            validated(WidgetSchema, (await asked(api, "/chatplugin.config", {"channel_id": channel_id})).json()).config
            == {}
        )
        found = validated(ChannelSchema, await configured(api, channel_id, config=CONFIG))
        kept = {**CONFIG, "height": 700, "hideEmojis": False}
        assert found.metadata == {"name": "shop", "config": kept}
        await api.call("/channels.update", {"channel_id": channel_id, "name": "Bakery"})
        await configured(api, channel_id, allowed_origins=[SITE])
        served = (await asked(api, "/chatplugin.config", {"channel_id": channel_id})).json()
        assert served == {"name": "Bakery", "image_url": None, "config": kept}

        await configured(api, channel_id, config={})
        assert (await asked(api, "/chatplugin.config", {"channel_id": channel_id})).json()["config"] == {}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"config": {"headerTexxt": "x"}}, "config"),
        ({"config": {"height": 3}}, "config.height"),
        ({"config": {"bubbleIcon": "javascript:alert(1)"}}, "config.bubbleIcon"),
        ({"config": {"primaryColor": "url(https://x.example)"}}, "config.primaryColor"),
        ({"config": {"welcomeMessage": {"text": "x" * 20_000}}}, "config"),
        ({"allowed_origins": ["bakery.example"]}, "allowed_origins"),
        ({"allowed_origins": ["https://bakery.example/shop"]}, "allowed_origins"),
        ({"allowed_origins": ["*"]}, "allowed_origins"),
        ({"allowed_origins": [f"https://s{number}.example" for number in range(101)]}, "allowed_origins"),
    ],
)
async def test_a_configuration_that_cannot_be_is_refused_by_its_key(given: dict[str, Any], field: str) -> None:
    async with api_harness() as api:
        problem = await configured(api, await connected(api), status=400, **given)
        assert [each["field"] for each in problem["fields"]] == [field]


async def test_only_a_connected_chat_plugin_is_configured() -> None:
    async with api_harness() as api:
        await api.append(channel())
        await configured(api, channel().id, status=404, config={})


# --- limits


async def test_a_visitor_over_the_limit_is_told_when_to_come_back_and_others_are_not_affected() -> None:
    limits = VisitorSettings(requests=RateLimiter(RateLimits(requests_per_s=0.5, burst=3)))
    async with api_harness(visitors=limits) as api:
        channel_id = await connected(api)
        one, two = await begun(api, channel_id), await begun(api, channel_id)
        for number in range(3):
            await says(api, one["token"], str(number))
        refused = await asked(api, "/chatplugin.send", {"message": "x"}, one["token"])
        assert (refused.status, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["code"] == "rate_limited"
        assert api.app.rejected["rate_limited"] == 1
        await says(api, two["token"])
        await anyio.sleep(2)
        await says(api, one["token"])


async def test_visits_of_one_channel_are_limited() -> None:
    limits = VisitorSettings(visits=RateLimiter(RateLimits(requests_per_s=1.0, burst=2)))
    async with api_harness(visitors=limits) as api:
        one, two = await connected(api), await connected(api)
        for _ in range(2):
            visit = await begun(api, one)
        assert (await asked(api, "/chatplugin.authenticate", {"channel_id": one})).status == 429
        await resumed(api, visit["resume_token"], 429)
        await begun(api, two)


async def test_a_message_has_a_limit() -> None:
    async with api_harness() as api:
        visit = await begun(api, await connected(api))
        answer = await asked(api, "/chatplugin.send", {"message": {"text": "x" * 40_000}}, visit["token"])
        assert answer.status == 400


async def test_a_cookie_counts_for_nothing_on_a_page_of_another_origin() -> None:
    class AgentWithCookie:
        async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
            return Caller("ada", PERMISSIONS[Role.ADMIN], kind=CallerKind.USER, by_cookie=True)

    limits = WebsocketLimits(unauthenticated_max=1)
    async with api_harness(authenticators=[AgentWithCookie()], websocket_limits=limits) as api:
        await api.append(Channel(id=SHOP, source="chatplugin", source_channel_id="shop", connected=True))
        body = {"channel_id": SHOP, "conversation_id": ids.derive("arbitrary")}
        statuses = {
            origin: (await asked(api, "/chatplugin.resumeToken", body, origin=origin)).status
            for origin in (ORIGIN, OTHER_SITE)
        }
        assert statuses == {ORIGIN: 200, OTHER_SITE: 403}
        other = [("origin", OTHER_SITE)]
        async with (
            open_websocket(api.app, "/ws.chatplugin", other) as opened,
            open_websocket(api.app, "/ws.chatplugin", other) as second,
        ):
            assert second.rejection is not None, "both count as not authenticated"
            assert second.rejection.status == 503
            assert "401" in (await StompClient(opened).connect(None)).headers["message"]
