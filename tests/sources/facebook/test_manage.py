"""Pages are found, connected and disconnected, and profiles read, against the simulated Graph API."""

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
from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sim.graph import GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimAccount, SimHttpClient
from airy.sources.api import Account, AccountKey, Checked, Connected, Profile, Target
from airy.sources.facebook import manage
from airy.sources.facebook.spec import ConnectPage, ExplorePages
from airy.sources.meta import pages
from airy.sources.meta.app import MetaApp
from tests.kit.contracts.source import conversation

CONFIG = MetaApp("990011", ("app-secret", "old-secret"), "verify-me")
BAKERY = SimAccount(
    "204918377001", "Corner Bakery", "EAAPageTokenOfTheBakery", "https://cdn.example.net/b.png", subscribed=False
)
OPTIONS = GraphOptions(accounts=(BAKERY,), proof_required=True)


class Wire:
    """A `HttpClient` in front of the simulation that remembers every call, and can answer in its place."""

    def __init__(self, options: GraphOptions = OPTIONS) -> None:
        self.core = GraphProvider(options)
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
        return self.core.state.accounts[BAKERY.id].fields


def answer(status: int, document: object = None, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def graph_error(code: int, said: str = "no", *, status: int = 400, **more: object) -> Response:
    return answer(status, {"error": {"message": said, "code": code, **more}})


async def explore(wire: Wire, connected: tuple[str, ...] = (), token: str = OPTIONS.user_token) -> list[Account]:
    keys = [AccountKey("facebook", account) for account in connected]
    return await manage.explore(wire, CONFIG, ExplorePages(auth_token=Secret(token)), keys)


async def connect(
    wire: Wire,
    name: str | None = None,
    image_url: str | None = None,
    page_id: str = BAKERY.id,
    token: str = BAKERY.token,
) -> Connected:
    form = ConnectPage(page_id=page_id, page_token=Secret(token), name=name, image_url=image_url)
    return await manage.connect(wire, CONFIG, form)


def target(token: str = BAKERY.token, participant_id: str = "7") -> Target:
    channel = Channel(id="h", source="facebook", source_channel_id=BAKERY.id, connected=True)
    return Target(
        channel=channel,
        conversation=conversation(participant_id=participant_id),
        credentials={"token": Secret(token)},
    )


async def disconnect(wire: Wire, token: str = BAKERY.token, *others: Channel) -> str | None:
    return await manage.disconnect(wire, CONFIG, target(token), others)


async def profile(wire: Wire, participant_id: str, token: str = BAKERY.token) -> Profile:
    return await manage.profile(wire, CONFIG, target(token, participant_id))


# --- explore


async def test_explore_follows_the_listing_to_its_end() -> None:
    pages = tuple(
        SimAccount(str(1000 + number), f"Page {number}", f"EAATokenOfPageNumber{number}") for number in range(60)
    )
    wire = Wire(GraphOptions(accounts=pages, proof_required=True))
    found = await explore(wire, ("1003", "1059"))
    assert [account.source_channel_id for account in found] == [page.id for page in pages]
    assert [account.source_channel_id for account in found if account.connected] == ["1003", "1059"]
    assert len(wire.calls) == 3


async def test_explore_tells_what_a_page_is() -> None:
    assert await explore(Wire()) == [Account(BAKERY.id, "Corner Bakery", "https://cdn.example.net/b.png", False)]


async def test_explore_does_not_follow_a_listing_to_another_server() -> None:
    for link in (
        "https://graph.facebook.com.example.net/v26.0/x",
        "http://graph.facebook.com/v26.0/x",
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
        "paging": {"next": "https://graph.facebook.com/v26.0/me/accounts?after=1"},
    }
    wire.answers["/accounts"] = answer(200, again)
    with pytest.raises(Refused, match="more than 100"):
        await explore(wire)
    assert len(wire.calls) == pages.LISTINGS_MAX


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
    assert page == Connected(
        account=BAKERY.id,
        name="Corner Bakery",
        image_url="https://cdn.example.net/b.png",
        metadata={"page_id": BAKERY.id},
        credentials={"token": Secret(BAKERY.token)},
    )
    assert wire.fields == frozenset(pages.SUBSCRIBED_FIELDS)
    assert [(method, urlsplit(url).path) for method, url, _, _ in wire.calls] == [
        ("POST", "/v26.0/oauth/access_token"),
        ("GET", "/v26.0/204918377001"),
        ("POST", "/v26.0/204918377001/subscribed_apps"),
    ]


async def test_connect_takes_name_and_picture_it_is_given() -> None:
    page = await connect(Wire(), "Our bakery", "https://example.org/logo.png")
    assert (page.name, page.image_url) == ("Our bakery", "https://example.org/logo.png")


async def test_a_page_object_without_token_leaves_the_exchanged_one() -> None:
    wire = Wire()
    wire.answers[f"/{BAKERY.id}"] = answer(200, {"id": BAKERY.id})
    page = await connect(wire)
    assert page.name == BAKERY.id
    assert page.credentials["token"].reveal().startswith("EAALong")


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
async def test_connect_makes_no_call_for_what_is_no_id(page_id: str) -> None:
    wire = Wire()
    with pytest.raises(Refused) as refused:
        await connect(wire, page_id=page_id)
    assert refused.value.field == "page_id"
    assert wire.calls == []


async def test_connect_with_a_wrong_token_says_so_without_it() -> None:
    with pytest.raises(Refused, match="Malformed access token") as refused:
        await connect(Wire(), token="quiet-token")
    assert "quiet" not in str(refused.value)


async def test_a_wrong_app_secret_is_metas_to_explain() -> None:
    with pytest.raises(Refused, match="Error validating client secret"):
        form = ConnectPage(page_id=BAKERY.id, page_token=Secret(BAKERY.token))
        await manage.connect(Wire(), replace(CONFIG, app_secrets=("wrong",)), form)


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
        (ConnectFailed("connection refused"), Unavailable, "connection refused"),
        (ResponseLost("no answer"), Unavailable, "no answer"),
    ],
)
@pytest.mark.parametrize("where", ["/access_token", f"/{BAKERY.id}", "/subscribed_apps"])
async def test_a_no_is_final_and_trouble_is_not(
    where: str, scripted: Response | Exception, kind: type[Exception], said: str
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


# --- check


async def check(wire: Wire, token: str = BAKERY.token) -> Checked:
    channel = Channel(id="f", source="facebook", source_channel_id=BAKERY.id, connected=True)
    return await manage.check(wire, CONFIG, Target(channel=channel, credentials={"token": Secret(token)}))


def apps(*listed: object) -> Response:
    return answer(200, {"data": listed})


OURS = {"id": "990011", "name": "Bakery app"}


@pytest.mark.parametrize(
    ("listing", "whole"),
    [
        (apps(), False),
        (apps({"id": "990012", "subscribed_fields": list(pages.SUBSCRIBED_FIELDS)}), False),
        (apps({"id": "990012"}, {**OURS, "subscribed_fields": list(pages.SUBSCRIBED_FIELDS)}), True),
        (apps({**OURS, "id": 990011, "subscribed_fields": sorted(pages.ESSENTIAL_FIELDS)}), True),
        (apps({**OURS, "subscribed_fields": ["messages"]}), False),
        (apps(OURS), True),
        (apps({**OURS, "subscribed_fields": []}), True),
        (answer(200, {"data": "x"}), False),
        (apps(None, [], "x"), False),
    ],
)
async def test_a_page_without_our_webhooks_is_subscribed_again(listing: Response, whole: bool) -> None:
    wire = Wire()
    await connect(wire)
    wire.calls.clear()
    wire.answers["/subscribed_apps"] = lambda given: listing if wire.calls[-1][0] == "GET" else given

    checked = await check(wire)

    assert (checked.repaired == "", checked.problem) == (whole, "")
    assert [method for method, *_ in wire.calls] == (["GET"] if whole else ["GET", "POST"])
    assert wire.fields == frozenset(pages.SUBSCRIBED_FIELDS)


async def test_a_page_that_meta_does_not_subscribe_is_a_problem_for_an_operator() -> None:
    wire = Wire()
    wire.answers["/subscribed_apps"] = lambda given: given if wire.calls[-1][0] == "GET" else apps()
    checked = await check(wire)
    assert "facebook did not subscribe the page to the app" in checked.problem
    assert checked.problem.endswith("connect the channel again")


# --- disconnect


async def test_disconnect_ends_the_subscription() -> None:
    wire = Wire()
    page = await connect(wire)
    assert await disconnect(wire, page.credentials["token"].reveal()) is None
    assert wire.fields == frozenset()


async def test_an_instagram_account_of_the_page_keeps_its_subscription() -> None:
    wire = Wire()
    await connect(wire)
    named = {"page_id": metadata.value(BAKERY.id)}
    account = Channel(id="i", source="instagram", source_channel_id="17", connected=True, metadata=named)
    assert await disconnect(wire, BAKERY.token, account) is None
    assert wire.fields == frozenset(pages.SUBSCRIBED_FIELDS)


@pytest.mark.parametrize(
    ("scripted", "said"),
    [
        (graph_error(190, "expired"), "expired"),
        (answer(500, b""), "answered 500"),
        (ConnectFailed("connection refused"), "connection refused"),
    ],
)
async def test_disconnect_is_never_in_the_way(scripted: Response | Exception, said: str) -> None:
    wire = Wire()
    wire.answers["/subscribed_apps"] = scripted
    told = await disconnect(wire)
    assert said in (told or "")


# --- profile


async def test_a_profile_has_a_name_and_a_picture() -> None:
    """FB-5, F4."""
    wire = Wire()
    psid = wire.core.person(name="Ines Maria Kuhn")
    found = await profile(wire, psid)
    assert found == Profile(True, "Ines Maria Kuhn", f"https://cdn.example.net/people/{psid}.jpg")


async def test_who_hides_their_profile_is_found_in_the_conversation() -> None:
    wire = Wire(replace(OPTIONS, behaviour=Behaviour(private=1.0)))
    psid = wire.core.person(name="Ines Kuhn")
    assert await profile(wire, psid) == Profile(True, "Ines Kuhn")


@pytest.mark.parametrize("stranger", ["6120000000009999", "../me/accounts", "a b?c=d#e", "é"])
async def test_an_unknown_contact_has_no_profile_and_its_id_stays_in_the_path(stranger: str) -> None:
    wire = Wire()
    assert await profile(wire, stranger) == Profile(False)
    path = urlsplit(wire.calls[0][1]).path
    assert path == f"/v26.0/{quote(stranger, safe='')}"


async def test_a_guest_has_no_profile_to_ask_for() -> None:
    wire = Wire()
    assert await profile(wire, "user_ref:plugin-7f3a") == Profile(found=False)
    assert wire.calls == []


async def test_a_picture_that_is_no_web_address_is_none() -> None:
    wire = Wire()
    wire.answers["/7"] = answer(
        200, {"first_name": " Ines\0 ", "last_name": None, "profile_pic": "javascript:alert(1)"}
    )
    assert await profile(wire, "7") == Profile(True, "Ines")


@pytest.mark.parametrize(
    "scripted", [answer(500, b""), graph_error(4), graph_error(190), ConnectFailed("x"), ResponseLost("x")]
)
async def test_a_profile_that_cannot_be_asked_for_now_is_asked_for_later(scripted: Response | Exception) -> None:
    wire = Wire()
    wire.answers["/7"] = scripted
    with pytest.raises(Unavailable):
        await profile(wire, "7")


# --- secrets


async def test_no_secret_is_in_an_address() -> None:
    """Nor in what connecting tells; the proof in a query opens nothing without the token."""
    wire = Wire()
    psid = wire.core.person()
    page = await connect(wire, token=OPTIONS.user_token)
    token = page.credentials["token"].reveal()
    await explore(wire)
    await profile(wire, psid, token)
    await disconnect(wire, token)
    secrets = (OPTIONS.user_token, BAKERY.token, token, "EAALong", *CONFIG.app_secrets)
    assert len(wire.calls) == 6
    for _, url, _, _ in wire.calls:
        assert [secret for secret in secrets if secret in url] == []
        assert "access_token" not in parse_qs(urlsplit(url).query)
    assert BAKERY.token not in repr(page)


async def test_a_long_listing_keeps_the_token_out_of_addresses() -> None:
    """Meta writes it into the links it gives."""
    pages = tuple(SimAccount(str(1000 + number), "x", f"EAATokenOfPageNumber{number}") for number in range(30))
    wire = Wire(GraphOptions(accounts=pages))
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
        for call in (connect(wire), explore(wire), profile(wire, "7")):
            try:
                await call
            except (Refused, Unavailable) as refused:
                assert str(refused)
