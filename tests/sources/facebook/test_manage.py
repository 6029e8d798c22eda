"""Exploring, connecting and disconnecting pages, and fetching profiles, against the simulated Graph API."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.http_client import ConnectFailed, Response, ResponseLost
from airy.sim.messenger import Behaviour, MessengerCore, SimHttpClient, SimOptions, SimPage
from airy.sources.api import Account, Profile
from airy.sources.facebook import Facebook, FacebookConfig, manage

CONFIG = FacebookConfig("990011", ("app-secret", "old-secret"), "verify-me")
BAKERY = SimPage(
    "204918377001", "Corner Bakery", "EAAPageTokenOfTheBakery", "https://cdn.example.net/b.png", subscribed=False
)
OPTIONS = SimOptions(pages=(BAKERY,), proof_required=True)


class Wire:
    """A `HttpClient` in front of the simulation that records every call and can answer instead of it."""

    def __init__(self, options: SimOptions = OPTIONS) -> None:
        self.core = MessengerCore(options)
        self.calls: list[tuple[str, str, Mapping[str, str], bytes | None]] = []
        self.answers: dict[str, Response | Exception | Callable[[Response], Response]] = {}  # by the end of a path
        self._fetch = SimHttpClient(self.core, LoopClock())

    async def __call__(self, method: str, url: str, **more: Any) -> Response:
        self.calls.append((method, url, more.get("headers", {}), more.get("body")))
        path = urlsplit(url).path
        scripted = next((answer for end, answer in self.answers.items() if path.endswith(end)), None)
        if isinstance(scripted, Exception):
            raise scripted
        if isinstance(scripted, Response):
            return scripted
        answer = await self._fetch(method, url, **more)
        return scripted(answer) if scripted else answer

    @property
    def fields(self) -> frozenset[str] | None:
        return self.core.state.pages[BAKERY.id].fields


def answer(status: int, document: object = None, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def graph_error(code: int, said: str = "no", *, status: int = 400, **more: object) -> Response:
    return answer(status, {"error": {"message": said, "code": code, **more}})


async def explore(wire: Wire, connected: tuple[str, ...] = (), token: str = OPTIONS.user_token) -> list[Account]:
    return await manage.explore(wire, CONFIG, token, connected)


async def connect(
    wire: Wire, *more: str | None, page_id: str = BAKERY.id, token: str = BAKERY.token
) -> manage.ConnectedPage:
    return await manage.connect(wire, CONFIG, page_id, token, *more)


# --- explore


async def test_explore_reads_every_page_of_the_listing() -> None:
    pages = tuple(
        SimPage(str(1000 + number), f"Page {number}", f"EAATokenOfPageNumber{number}") for number in range(60)
    )
    wire = Wire(SimOptions(pages=pages, proof_required=True))
    found = await explore(wire, ("1003", "1059"))
    assert [account.source_channel_id for account in found] == [page.id for page in pages]
    assert [account.source_channel_id for account in found if account.connected] == ["1003", "1059"]
    assert len(wire.calls) == 3


async def test_explore_describes_each_page() -> None:
    assert await explore(Wire()) == [Account(BAKERY.id, "Corner Bakery", "https://cdn.example.net/b.png", False)]


async def test_explore_follows_no_link_to_another_server() -> None:
    for link in (
        "https://graph.facebook.com.example.net/v23.0/x",
        "http://graph.facebook.com/v23.0/x",
        "https://graph.facebook.com:444/",
    ):
        wire = Wire()
        wire.answers["/accounts"] = answer(200, {"data": [], "paging": {"next": link}})
        with pytest.raises(Refused, match="another server"):
            await explore(wire)
        assert len(wire.calls) == 1


async def test_explore_stops_at_a_cycle_of_links() -> None:
    wire = Wire()
    again = {
        "data": [{"id": "1", "name": "x"}],
        "paging": {"next": "https://graph.facebook.com/v23.0/me/accounts?after=1"},
    }
    wire.answers["/accounts"] = answer(200, again)
    with pytest.raises(Refused, match="more than 100"):
        await explore(wire)
    assert len(wire.calls) == manage.PAGES_MAX


@pytest.mark.parametrize(
    "listing",
    [
        {},
        {"data": None},
        {"data": 5, "paging": 7},
        {"data": [1, {}, {"name": "x"}], "paging": {"next": 5}},
        {"paging": {"next": ""}},
    ],
)
async def test_explore_of_a_malformed_listing_finds_nothing(listing: object) -> None:
    wire = Wire()
    wire.answers["/accounts"] = answer(200, listing)
    assert await explore(wire) == []


# --- connect


async def test_connect_exchanges_the_token_and_subscribes_the_page() -> None:
    wire = Wire()
    page = await connect(wire, token=OPTIONS.user_token)
    assert page == manage.ConnectedPage(BAKERY.id, "Corner Bakery", "https://cdn.example.net/b.png", BAKERY.token)
    assert wire.fields == frozenset(manage.SUBSCRIBED_FIELDS)
    assert [(method, urlsplit(url).path) for method, url, _, _ in wire.calls] == [
        ("POST", "/v23.0/oauth/access_token"),
        ("GET", "/v23.0/204918377001"),
        ("POST", "/v23.0/204918377001/subscribed_apps"),
    ]


async def test_connect_uses_the_given_name_and_picture() -> None:
    page = await connect(Wire(), "Our bakery", "https://example.org/logo.png")
    assert (page.name, page.image_url) == ("Our bakery", "https://example.org/logo.png")


async def test_a_page_object_without_a_token_keeps_the_exchanged_one() -> None:
    wire = Wire()
    wire.answers[f"/{BAKERY.id}"] = answer(200, {"id": BAKERY.id})
    page = await connect(wire)
    assert page.name == BAKERY.id
    assert page.token.startswith("EAALong")


async def test_connect_rejects_a_different_page() -> None:
    wire = Wire()
    wire.answers[f"/{BAKERY.id}"] = answer(200, {"id": "777"})
    with pytest.raises(Refused, match="another id") as refused:
        await connect(wire)
    assert refused.value.field == "page_id"


async def test_connect_rejects_an_unsuccessful_subscription() -> None:
    wire = Wire()
    wire.answers["/subscribed_apps"] = answer(200, {"success": False})
    with pytest.raises(Refused, match="did not subscribe"):
        await connect(wire)


@pytest.mark.parametrize("page_id", ["", "../me", "1/2", "a b", "1?x=1", "é", "1" * 65])
async def test_connect_makes_no_call_for_an_invalid_id(page_id: str) -> None:
    wire = Wire()
    with pytest.raises(Refused) as refused:
        await connect(wire, page_id=page_id)
    assert refused.value.field == "page_id"
    assert wire.calls == []


async def test_connect_reports_a_wrong_token_without_revealing_it() -> None:
    with pytest.raises(Refused, match="Malformed access token") as refused:
        await connect(Wire(), token="clear-secret")
    assert "clear-secret" not in str(refused.value)


async def test_a_wrong_app_secret_is_reported_with_metas_message() -> None:
    with pytest.raises(Refused, match="Error validating client secret"):
        await manage.connect(Wire(), replace(CONFIG, app_secrets=("wrong",)), BAKERY.id, BAKERY.token)


# --- errors of Graph


@pytest.mark.parametrize(
    ("scripted", "kind", "said"),
    [
        (graph_error(100, "(#100) Invalid page"), Refused, "(#100) Invalid page"),
        (graph_error(190, "expired", status=401), Refused, "expired"),
        (graph_error(200, "(#200) Requires pages_messaging", status=403), Refused, "Requires pages_messaging"),
        (graph_error(4, "Application request limit reached"), Unavailable, "Application request limit reached"),
        (graph_error(4711, "x", is_transient=True), Unavailable, "x"),
        (graph_error(4711, "x", status=500), Unavailable, "x"),
        (answer(502, b"<html>"), Unavailable, "answered 502"),
        (answer(429, b""), Unavailable, "answered 429"),
        (answer(200, b"<html>"), Unavailable, "answered 200"),
        (answer(200, []), Unavailable, "answered 200"),
        (answer(404, b"<html>"), Refused, "answered 404"),
        (answer(302, b""), Refused, "answered 302"),
        (ConnectFailed("connection refused"), Unavailable, "connection refused"),
        (ResponseLost("no answer"), Unavailable, "no answer"),
    ],
)
@pytest.mark.parametrize("where", ["/access_token", f"/{BAKERY.id}", "/subscribed_apps"])
async def test_a_rejection_is_refused_and_an_outage_is_unavailable(
    where: str, scripted: Response | Exception, kind: type[Exception], said: str
) -> None:
    wire = Wire()
    wire.answers[where] = scripted
    with pytest.raises(kind, match=said.replace("(", r"\(").replace(")", r"\)")):
        await connect(wire)


async def test_the_retry_delay_is_metas() -> None:
    wire = Wire()
    wire.answers["/accounts"] = answer(429, {"error": {"message": "x", "code": 32}}, retry_after="30")
    with pytest.raises(Unavailable) as unavailable:
        await explore(wire)
    assert unavailable.value.retry_after_s == 30


# --- disconnect


async def test_disconnect_ends_the_subscription() -> None:
    wire = Wire()
    page = await connect(wire)
    assert await manage.disconnect(wire, CONFIG, BAKERY.id, page.token) is None
    assert wire.fields == frozenset()


@pytest.mark.parametrize(
    ("scripted", "said"),
    [
        (graph_error(190, "expired"), "expired"),
        (answer(500, b""), "answered 500"),
        (ConnectFailed("connection refused"), "connection refused"),
    ],
)
async def test_a_failed_disconnect_returns_its_reason(scripted: Response | Exception, said: str) -> None:
    wire = Wire()
    wire.answers["/subscribed_apps"] = scripted
    told = await manage.disconnect(wire, CONFIG, BAKERY.id, BAKERY.token)
    assert said in (told or "")


# --- profile


async def test_a_profile_has_a_name_and_a_picture() -> None:
    wire = Wire()
    psid = wire.core.person(name="Ines Maria Kuhn")
    found = await Facebook(CONFIG).profile(wire, psid, BAKERY.token)
    assert found == Profile(True, "Ines Maria Kuhn", f"https://cdn.example.net/people/{psid}.jpg")


async def test_the_name_of_a_hidden_profile_is_read_from_the_conversation() -> None:
    wire = Wire(replace(OPTIONS, behaviour=Behaviour(private=1.0)))
    psid = wire.core.person(name="Ines Kuhn")
    assert await manage.profile(wire, CONFIG, psid, BAKERY.token) == Profile(True, "Ines Kuhn")


@pytest.mark.parametrize("contact", ["6120000000009999", "../me/accounts", "a b?c=d#e", "é"])
async def test_an_invalid_contact_id_has_no_profile_and_makes_no_other_call(contact: str) -> None:
    wire = Wire()
    assert await manage.profile(wire, CONFIG, contact, BAKERY.token) == Profile(False)
    path = urlsplit(wire.calls[0][1]).path
    assert path == f"/v23.0/{quote(contact, safe='')}"


async def test_a_picture_without_a_web_address_is_dropped() -> None:
    wire = Wire()
    wire.answers["/7"] = answer(
        200, {"first_name": " Ines\0 ", "last_name": None, "profile_pic": "javascript:alert(1)"}
    )
    assert await manage.profile(wire, CONFIG, "7", BAKERY.token) == Profile(True, "Ines")


@pytest.mark.parametrize(
    "scripted", [answer(500, b""), graph_error(4), graph_error(190), ConnectFailed("x"), ResponseLost("x")]
)
async def test_a_profile_that_is_unavailable_is_fetched_later(scripted: Response | Exception) -> None:
    wire = Wire()
    wire.answers["/7"] = scripted
    with pytest.raises(Unavailable):
        await manage.profile(wire, CONFIG, "7", BAKERY.token)


# --- secrets


async def test_no_secret_is_in_a_url() -> None:
    """Nor in the result of connecting; the proof in a query is useless without the token."""
    wire = Wire()
    psid = wire.core.person()
    page = await connect(wire, token=OPTIONS.user_token)
    await explore(wire)
    await manage.profile(wire, CONFIG, psid, page.token)
    await manage.disconnect(wire, CONFIG, BAKERY.id, page.token)
    secrets = (OPTIONS.user_token, BAKERY.token, page.token, "EAALong", *CONFIG.app_secrets)
    assert len(wire.calls) == 6
    for _, url, _, _ in wire.calls:
        assert [secret for secret in secrets if secret in url] == []
        assert "access_token" not in parse_qs(urlsplit(url).query)
    assert BAKERY.token not in repr(page)


async def test_a_long_listing_keeps_the_token_out_of_urls() -> None:
    """Meta puts it into the links of the listing."""
    pages = tuple(SimPage(str(1000 + number), "x", f"EAATokenOfPageNumber{number}") for number in range(30))
    wire = Wire(SimOptions(pages=pages))
    assert len(await explore(wire)) == 30
    assert [url for _, url, _, _ in wire.calls if OPTIONS.user_token in url] == []


async def test_any_answer_gives_a_result_or_a_declared_error() -> None:
    """Seeded random answers of Graph raise only `Refused` and `Unavailable`."""
    random = Random(7)
    things: list[object] = [
        None,
        1,
        "x",
        [],
        {},
        {"id": BAKERY.id},
        {"success": True},
        {"access_token": "EAAx"},
        {"data": [{}]},
    ]
    for _ in range(300):
        wire = Wire()
        for end in ("/access_token", f"/{BAKERY.id}", "/subscribed_apps", "/accounts", "/7", "/conversations"):
            error = {"error": random.choice([*things, {"code": random.choice([1, 100, 190, "x", None])}])}
            wire.answers[end] = answer(random.choice([200, 302, 400, 500]), random.choice([*things, error]))
        for call in (connect(wire), explore(wire), manage.profile(wire, CONFIG, "7", BAKERY.token)):
            try:
                await call
            except (Refused, Unavailable) as refused:
                assert str(refused)
