"""Finding, connecting and leaving pages, and asking who somebody is, against the simulated Graph API."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest
from msgspec.structs import replace

from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.fetch import Answer, NotSent, Unanswered
from airy.sim.messenger import Behaviour, MessengerCore, Page, SimFetch, SimOptions
from airy.sources.api import Account, Profile
from airy.sources.facebook import Facebook, FacebookConfig, manage

CONFIG = FacebookConfig("990011", ("app-secret", "old-secret"), "verify-me")
BAKERY = Page(
    "204918377001", "Corner Bakery", "EAAPageTokenOfTheBakery", "https://cdn.example.net/b.png", subscribed=False
)
OPTIONS = SimOptions(pages=(BAKERY,), proof_required=True)


class Wire:
    """A `Fetch` in front of the simulation that remembers every call, and can answer in its place."""

    def __init__(self, options: SimOptions = OPTIONS) -> None:
        self.core = MessengerCore(options)
        self.calls: list[tuple[str, str, Mapping[str, str], bytes | None]] = []
        self.answers: dict[str, Answer | Exception | Callable[[Answer], Answer]] = {}  # by the end of a path
        self._fetch = SimFetch(self.core, LoopClock())

    async def __call__(self, method: str, url: str, **more: Any) -> Answer:
        self.calls.append((method, url, more.get("headers", {}), more.get("body")))
        path = urlsplit(url).path
        scripted = next((answer for end, answer in self.answers.items() if path.endswith(end)), None)
        if isinstance(scripted, Exception):
            raise scripted
        if isinstance(scripted, Answer):
            return scripted
        answer = await self._fetch(method, url, **more)
        return scripted(answer) if scripted else answer

    @property
    def fields(self) -> frozenset[str] | None:
        return self.core.world.pages[BAKERY.id].fields


def answer(status: int, document: object = None, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def graph_error(code: int, said: str = "no", *, status: int = 400, **more: object) -> Answer:
    return answer(status, {"error": {"message": said, "code": code, **more}})


async def explore(wire: Wire, connected: tuple[str, ...] = (), token: str = OPTIONS.user_token) -> list[Account]:
    return await manage.explore(wire, CONFIG, token, connected)


async def connect(
    wire: Wire, *more: str | None, page_id: str = BAKERY.id, token: str = BAKERY.token
) -> manage.ConnectedPage:
    return await manage.connect(wire, CONFIG, page_id, token, *more)


# --- explore


async def test_explore_follows_the_listing_to_its_end() -> None:
    pages = tuple(Page(str(1000 + number), f"Page {number}", f"EAATokenOfPageNumber{number}") for number in range(60))
    wire = Wire(SimOptions(pages=pages, proof_required=True))
    found = await explore(wire, ("1003", "1059"))
    assert [account.source_channel_id for account in found] == [page.id for page in pages]
    assert [account.source_channel_id for account in found if account.connected] == ["1003", "1059"]
    assert len(wire.calls) == 3


async def test_explore_tells_what_a_page_is() -> None:
    assert await explore(Wire()) == [Account(BAKERY.id, "Corner Bakery", "https://cdn.example.net/b.png", False)]


async def test_explore_follows_nobody_to_another_server() -> None:
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


async def test_explore_does_not_go_in_circles_for_ever() -> None:
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
async def test_explore_of_nonsense_finds_nothing(listing: object) -> None:
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


async def test_connect_takes_name_and_picture_it_is_given() -> None:
    page = await connect(Wire(), "Our bakery", "https://example.org/logo.png")
    assert (page.name, page.image_url) == ("Our bakery", "https://example.org/logo.png")


async def test_a_page_object_without_token_leaves_the_exchanged_one() -> None:
    wire = Wire()
    wire.answers[f"/{BAKERY.id}"] = answer(200, {"id": BAKERY.id})
    page = await connect(wire)
    assert page.name == BAKERY.id
    assert page.token.startswith("EAALong")


async def test_connect_refuses_a_page_that_is_another() -> None:
    wire = Wire()
    wire.answers[f"/{BAKERY.id}"] = answer(200, {"id": "777"})
    with pytest.raises(Refused, match="another id") as refused:
        await connect(wire)
    assert refused.value.field == "page_id"


async def test_connect_refuses_a_subscription_that_did_not_happen() -> None:
    wire = Wire()
    wire.answers["/subscribed_apps"] = answer(200, {"success": False})
    with pytest.raises(Refused, match="did not subscribe"):
        await connect(wire)


@pytest.mark.parametrize("page_id", ["", "../me", "1/2", "a b", "1?x=1", "é", "1" * 65])
async def test_connect_calls_nobody_for_what_is_no_id(page_id: str) -> None:
    wire = Wire()
    with pytest.raises(Refused) as refused:
        await connect(wire, page_id=page_id)
    assert refused.value.field == "page_id"
    assert wire.calls == []


async def test_connect_with_a_wrong_token_says_so_without_it() -> None:
    with pytest.raises(Refused, match="Malformed access token") as refused:
        await connect(Wire(), token="hush-hush")
    assert "hush" not in str(refused.value)


async def test_a_wrong_app_secret_is_metas_to_explain() -> None:
    with pytest.raises(Refused, match="Error validating client secret"):
        await manage.connect(Wire(), replace(CONFIG, app_secrets=("wrong",)), BAKERY.id, BAKERY.token)


# --- what Graph says, and what comes of it


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
        (NotSent("nobody there"), Unavailable, "nobody there"),
        (Unanswered("no answer"), Unavailable, "no answer"),
    ],
)
@pytest.mark.parametrize("where", ["/access_token", f"/{BAKERY.id}", "/subscribed_apps"])
async def test_a_no_is_final_and_trouble_is_not(
    where: str, scripted: Answer | Exception, kind: type[Exception], said: str
) -> None:
    wire = Wire()
    wire.answers[where] = scripted
    with pytest.raises(kind, match=said.replace("(", r"\(").replace(")", r"\)")):
        await connect(wire)


async def test_meta_says_when_to_come_back() -> None:
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
        (NotSent("nobody there"), "nobody there"),
    ],
)
async def test_disconnect_is_never_in_the_way(scripted: Answer | Exception, said: str) -> None:
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


async def test_who_hides_their_profile_is_found_in_the_conversation() -> None:
    wire = Wire(replace(OPTIONS, behaviour=Behaviour(private=1.0)))
    psid = wire.core.person(name="Ines Kuhn")
    assert await manage.profile(wire, CONFIG, psid, BAKERY.token) == Profile(True, "Ines Kuhn")


@pytest.mark.parametrize("stranger", ["6120000000009999", "../me/accounts", "a b?c=d#e", "é"])
async def test_a_stranger_is_nobody_and_leads_nowhere_else(stranger: str) -> None:
    wire = Wire()
    assert await manage.profile(wire, CONFIG, stranger, BAKERY.token) == Profile(False)
    path = urlsplit(wire.calls[0][1]).path
    assert path == f"/v23.0/{quote(stranger, safe='')}"


async def test_a_picture_that_is_no_web_address_is_none() -> None:
    wire = Wire()
    wire.answers["/7"] = answer(
        200, {"first_name": " Ines\0 ", "last_name": None, "profile_pic": "javascript:alert(1)"}
    )
    assert await manage.profile(wire, CONFIG, "7", BAKERY.token) == Profile(True, "Ines")


@pytest.mark.parametrize(
    "scripted", [answer(500, b""), graph_error(4), graph_error(190), NotSent("x"), Unanswered("x")]
)
async def test_a_profile_that_cannot_be_asked_for_now_is_asked_for_later(scripted: Answer | Exception) -> None:
    wire = Wire()
    wire.answers["/7"] = scripted
    with pytest.raises(Unavailable):
        await manage.profile(wire, CONFIG, "7", BAKERY.token)


# --- secrets


async def test_no_secret_is_in_an_address() -> None:
    """Nor in what connecting tells; the proof in a query opens nothing without the token."""
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


async def test_a_long_listing_keeps_the_token_out_of_addresses() -> None:
    """Meta writes it into the links it gives."""
    pages = tuple(Page(str(1000 + number), "x", f"EAATokenOfPageNumber{number}") for number in range(30))
    wire = Wire(SimOptions(pages=pages))
    assert len(await explore(wire)) == 30
    assert [url for _, url, _, _ in wire.calls if OPTIONS.user_token in url] == []


async def test_any_answer_is_an_error_of_ours_or_a_result() -> None:
    """Seeded nonsense from Graph never ends in anything but `Refused` and `Unavailable`."""
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
