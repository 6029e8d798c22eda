"""Graph API calls other than sends: tokens, pages, subscriptions, profiles."""

import hashlib
import hmac
from urllib.parse import urlencode

from msgspec import Struct

from airy.sim.messenger import graph
from airy.sim.messenger.graph import GraphReply, GraphRequest
from airy.sim.messenger.state import PageState, Person, SimState

LISTED_MAX = 25  # accounts per page of a listing


class TokenOwner(Struct, frozen=True):
    """The owner of a token: one page, or the owner of all pages (None)."""

    token: str
    page_id: str | None


class GraphApi:
    def __init__(self, state: SimState) -> None:
        self._state = state
        self._tokens: dict[str, str | None] = {page.token: page.id for page in state.options.pages}
        self._tokens[state.options.user_token] = None

    def owner(self, request: GraphRequest) -> TokenOwner | GraphReply:
        """The caller, or the reply that refuses the call. A token exchange has no caller yet."""
        if request.path == "/oauth/access_token":
            return self._exchange(request)
        if request.token is None:
            return graph.NO_TOKEN
        if request.token not in self._tokens:
            return graph.bad_token(request.token)
        page_id = self._tokens[request.token]
        if page_id is not None and self._state.pages[page_id].revoked:
            return graph.expired_token()
        refusal = self._unproved(request, request.token)
        return refusal or TokenOwner(request.token, page_id)

    def call(self, request: GraphRequest, owner: TokenOwner) -> GraphReply:
        target, _, what = request.path.strip("/").partition("/")
        page = self._page(target, owner)
        match request.method, what:
            case "GET", "accounts" if target == "me":
                return self._accounts(request)
            case "GET", "conversations" if page is not None:
                return self._conversations(request, page)
            case (("GET" | "POST" | "DELETE"), "subscribed_apps") if page is not None:
                return self._subscribed_apps(request, page)
            case "GET", "" if page is not None:
                return graph.ok(self._shown(page, request))
            case "GET", "" if (person := self._state.people.get(target)) is not None:
                return self._profile(person, request)
        return graph.unsupported(request.method, request.path)

    def _page(self, target: str, owner: TokenOwner) -> PageState | None:
        page_id = owner.page_id if target == "me" else target
        return self._state.pages.get(page_id) if page_id is not None else None

    def _unproved(self, request: GraphRequest, token: str) -> GraphReply | None:
        options = self._state.options
        proof = request.text("appsecret_proof")
        if not proof:
            return graph.NEEDS_PROOF if options.proof_required else None
        expected = hmac.new(options.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(proof.encode(), expected.encode()) else graph.BAD_PROOF

    def _exchange(self, request: GraphRequest) -> GraphReply:
        options = self._state.options
        if request.text("client_id") != options.app_id or request.text("client_secret") != options.app_secret:
            return graph.error("Error validating client secret.", 1)
        token = request.text("fb_exchange_token")
        if request.text("grant_type") != "fb_exchange_token" or token not in self._tokens:
            return graph.bad_token(token)
        digest = hashlib.blake2b(f"{options.seed}:{token}".encode(), digest_size=16).hexdigest()
        long_lived = token if token.startswith("EAALong") else f"EAALong{digest}"
        self._tokens[long_lived] = self._tokens[token]
        return graph.ok({"access_token": long_lived, "token_type": "bearer", "expires_in": 5_183_944})

    def _accounts(self, request: GraphRequest) -> GraphReply:
        pages = list(self._state.pages.values())
        limit, after = request.text("limit"), request.text("after")
        size = min(int(limit), LISTED_MAX) if limit.isdigit() and int(limit) else LISTED_MAX
        start = int(after) if after.isdigit() else 0
        paging: dict[str, object] = {"cursors": {"before": str(start), "after": str(start + size)}}
        if start + size < len(pages):  # with the token in the link, as Meta does it
            query = {
                "fields": request.text("fields"),
                "limit": str(size),
                "after": str(start + size),
                "access_token": request.token or "",
            }
            paging["next"] = f"{request.address}/me/accounts?{urlencode(query)}"
        return graph.ok(
            {"data": [self._shown(page, request) for page in pages[start : start + size]], "paging": paging}
        )

    def _shown(self, state: PageState, request: GraphRequest) -> dict[str, object]:
        page = state.page
        known: dict[str, object] = {
            "name": page.name,
            "name_with_location_descriptor": page.name,
            "access_token": page.token,
            "is_webhooks_subscribed": state.fields != frozenset(),
        }
        if page.image_url is not None:
            known["picture"] = {"data": {"height": 50, "is_silhouette": False, "url": page.image_url, "width": 50}}
        wanted = request.text("fields").split(",")
        return {name: known[name] for name in wanted if name in known} | {"id": page.id}

    def _subscribed_apps(self, request: GraphRequest, state: PageState) -> GraphReply:
        if request.method == "GET":
            fields = sorted(state.fields or ())
            subscribed = [{"id": self._state.options.app_id, "subscribed_fields": fields}]
            return graph.ok({"data": [] if state.fields == frozenset() else subscribed})
        if request.method == "DELETE":
            state.fields = frozenset()
            return graph.ok({"success": True})
        fields_given = frozenset(filter(None, request.text("subscribed_fields").split(",")))
        if not fields_given:
            return graph.error("(#100) The parameter subscribed_fields is required.", 100)
        state.fields = fields_given
        return graph.ok({"success": True})

    def _profile(self, person: Person, request: GraphRequest) -> GraphReply:
        if person.private:
            return graph.unsupported("get", person.psid)
        first, _, last = person.name.partition(" ")
        known = {
            "first_name": first,
            "last_name": last,
            "profile_pic": f"https://cdn.example.net/people/{person.psid}.jpg",
        }
        wanted = request.text("fields").split(",")
        return graph.ok({name: known[name] for name in wanted if name in known} | {"id": person.psid})

    def _conversations(self, request: GraphRequest, state: PageState) -> GraphReply:
        person = self._state.people.get(request.text("user_id"))
        if person is None or person.page_id != state.page.id:
            return graph.ok({"data": []})
        people = [
            {"name": person.name, "email": f"{person.psid}@facebook.com", "id": person.psid},
            {"name": state.page.name, "email": f"{state.page.id}@facebook.com", "id": state.page.id},
        ]
        return graph.ok({"data": [{"participants": {"data": people}, "id": f"t_{person.psid}"}]})
