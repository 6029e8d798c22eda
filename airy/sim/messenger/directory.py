"""Graph calls that are not sends: tokens, pages, subscriptions, profiles."""

import hashlib
import hmac
from urllib.parse import urlencode

from msgspec import Struct

from airy.sim.messenger import graph
from airy.sim.messenger.graph import Reply, Request
from airy.sim.messenger.world import Person, Sight, World

LISTED_MAX = 25  # accounts in one part of a listing


class Holder(Struct, frozen=True):
    """Whom a token speaks for: one page, or the owner of all (None)."""

    token: str
    page_id: str | None


class Directory:
    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, str | None] = {page.token: page.id for page in world.options.pages}
        self._tokens[world.options.user_token] = None

    def holder(self, request: Request) -> Holder | Reply:
        """Who calls; a reply says that they may not. The exchange of tokens is called by nobody yet."""
        if request.path == "/oauth/access_token":
            return self._exchange(request)
        if request.token is None:
            return graph.NO_TOKEN
        if request.token not in self._tokens:
            return graph.bad_token(request.token)
        page_id = self._tokens[request.token]
        if page_id is not None and self._world.pages[page_id].revoked:
            return graph.expired_token()
        wrong = self._unproved(request, request.token)
        return wrong or Holder(request.token, page_id)

    def call(self, request: Request, holder: Holder) -> Reply:
        whom, _, what = request.path.strip("/").partition("/")
        page = self._page(whom, holder)
        match request.method, what:
            case "GET", "accounts" if whom == "me":
                return self._accounts(request)
            case "GET", "conversations" if page is not None:
                return self._conversations(request, page)
            case (("GET" | "POST" | "DELETE"), "subscribed_apps") if page is not None:
                return self._subscribed_apps(request, page)
            case "GET", "" if page is not None:
                return graph.ok(self._shown(page, request))
            case "GET", "" if (person := self._world.people.get(whom)) is not None:
                return self._profile(person, request)
        return graph.unsupported(request.method, request.path)

    def _page(self, whom: str, holder: Holder) -> Sight | None:
        page_id = holder.page_id if whom == "me" else whom
        return self._world.pages.get(page_id) if page_id is not None else None

    def _unproved(self, request: Request, token: str) -> Reply | None:
        options = self._world.options
        given = request.text("appsecret_proof")
        if not given:
            return graph.NEEDS_PROOF if options.proof_required else None
        right = hmac.new(options.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(given.encode(), right.encode()) else graph.BAD_PROOF

    def _exchange(self, request: Request) -> Reply:
        options = self._world.options
        if request.text("client_id") != options.app_id or request.text("client_secret") != options.app_secret:
            return graph.error("Error validating client secret.", 1)
        token = request.text("fb_exchange_token")
        if request.text("grant_type") != "fb_exchange_token" or token not in self._tokens:
            return graph.bad_token(token)
        digest = hashlib.blake2b(f"{options.seed}:{token}".encode(), digest_size=16).hexdigest()
        long_lived = token if token.startswith("EAALong") else f"EAALong{digest}"
        self._tokens[long_lived] = self._tokens[token]
        return graph.ok({"access_token": long_lived, "token_type": "bearer", "expires_in": 5_183_944})

    def _accounts(self, request: Request) -> Reply:
        pages = list(self._world.pages.values())
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

    def _shown(self, sight: Sight, request: Request) -> dict[str, object]:
        page = sight.page
        known: dict[str, object] = {
            "name": page.name,
            "name_with_location_descriptor": page.name,
            "access_token": page.token,
            "is_webhooks_subscribed": sight.fields != frozenset(),
        }
        if page.image_url is not None:
            known["picture"] = {"data": {"height": 50, "is_silhouette": False, "url": page.image_url, "width": 50}}
        wanted = request.text("fields").split(",")
        return {name: known[name] for name in wanted if name in known} | {"id": page.id}

    def _subscribed_apps(self, request: Request, sight: Sight) -> Reply:
        if request.method == "GET":
            fields = sorted(sight.fields or ())
            subscribed = [{"id": self._world.options.app_id, "subscribed_fields": fields}]
            return graph.ok({"data": [] if sight.fields == frozenset() else subscribed})
        if request.method == "DELETE":
            sight.fields = frozenset()
            return graph.ok({"success": True})
        fields_given = frozenset(filter(None, request.text("subscribed_fields").split(",")))
        if not fields_given:
            return graph.error("(#100) The parameter subscribed_fields is required.", 100)
        sight.fields = fields_given
        return graph.ok({"success": True})

    def _profile(self, person: Person, request: Request) -> Reply:
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

    def _conversations(self, request: Request, sight: Sight) -> Reply:
        person = self._world.people.get(request.text("user_id"))
        if person is None or person.page_id != sight.page.id:
            return graph.ok({"data": []})
        people = [
            {"name": person.name, "email": f"{person.psid}@facebook.com", "id": person.psid},
            {"name": sight.page.name, "email": f"{sight.page.id}@facebook.com", "id": sight.page.id},
        ]
        return graph.ok({"data": [{"participants": {"data": people}, "id": f"t_{person.psid}"}]})
