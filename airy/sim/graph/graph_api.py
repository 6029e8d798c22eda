"""Graph API calls other than sends: tokens, pages, numbers, subscriptions, profiles, media."""

import hashlib
import hmac
from urllib.parse import urlencode

from msgspec import Struct

from airy.sim.graph import errors
from airy.sim.graph.errors import GraphRequest
from airy.sim.graph.options import FACEBOOK, INSTAGRAM, WHATSAPP, GraphOptions, kind_of
from airy.sim.graph.whatsapp import sha256_of
from airy.sim.provider.api import ApiReply, SimFile, json_reply
from airy.sim.provider.state import AccountState, Person, SimState

LISTED_MAX = 25  # accounts per page of a listing
LOGIN_GRANTS = {"/access_token": "ig_exchange_token", "/refresh_access_token": "ig_refresh_token"}
LASTING = "IGAALong"  # how tokens of 60 days begin
TOKEN_TYPES = {FACEBOOK: "PAGE", INSTAGRAM: "PAGE", WHATSAPP: "SYSTEM_USER"}


class TokenOwner(Struct, frozen=True):
    """The owner of a token: one page, account or number, or the owner of all pages (None)."""

    token: str
    account_id: str | None


class GraphApi:
    def __init__(self, state: SimState, options: GraphOptions) -> None:
        self._state = state
        self._options = options
        self._tokens: dict[str, str | None] = {}
        for account in options.accounts:  # an Instagram account may share the token of its page, which owns it
            self._tokens.setdefault(account.token, account.id)
        self._tokens[options.user_token] = None
        self._tokens[f"{options.app_id}|{options.app_secret}"] = None  # the app's own token

    def owner(self, request: GraphRequest) -> TokenOwner | ApiReply:
        """The caller, or the reply that refuses the call. A token exchange has no caller yet."""
        if request.path == "/oauth/access_token":
            return self._exchange(request)
        if request.path in LOGIN_GRANTS:
            return self._login_token(request)
        if request.token is None:
            return errors.NO_TOKEN
        if request.token not in self._tokens:
            return errors.bad_token(request.token)
        account_id = self._tokens[request.token]
        if account_id is not None and self._state.accounts[account_id].revoked:
            return errors.expired_token()
        refusal = self._unproved(request, request.token)
        return refusal or TokenOwner(request.token, account_id)

    def call(self, request: GraphRequest, owner: TokenOwner, files: str) -> ApiReply:
        """`files`: the address of files that can be downloaded."""
        target, _, what = request.path.strip("/").partition("/")
        account = self._account(target, owner)
        reply = self._edge(request, target, what, account) if what else self._node(request, target, account, files)
        return reply or errors.unsupported(request.method, request.path)

    def _edge(self, request: GraphRequest, target: str, what: str, account: AccountState | None) -> ApiReply | None:
        match request.method, what:
            case "GET", "accounts" if target == "me":
                return self._accounts(request)
            case "GET", "conversations" if account is not None:
                return self._conversations(request, account)
            case (("GET" | "POST" | "DELETE"), "subscribed_apps") if subscribed := self._subscribable(target, account):
                return self._subscribed_apps(request, subscribed)
            case "POST", "media" if account is not None:
                return self._uploaded(request)
            case "GET", "phone_numbers" if numbers := self._subscribable(target, account):
                return json_reply({"data": [_shown_number(number, request) for number in numbers]})
        registered = request.method == "POST" and what == "register" and account is not None
        return json_reply({"success": True}) if registered else None

    def _node(self, request: GraphRequest, target: str, account: AccountState | None, files: str) -> ApiReply | None:
        person, file = self._state.people.get(target), self._state.files.get(target)
        if request.method == "DELETE" and file is not None:
            del self._state.files[target]
            return json_reply({"success": True})
        if request.method != "GET":
            return None
        if target == "debug_token":
            return self._debugged(request)
        if account is not None:
            return json_reply(self._shown(account, request))
        if person is not None:
            return self._profile(person, request)
        return None if file is None else json_reply(_shown_file(target, file, files))

    def recipient_account(self, target: str, owner: TokenOwner, recipient_id: str) -> AccountState | None:
        """Which of the accounts behind a token writes: that of the recipient, if the token's page owns it."""
        account = self._account(target, owner)
        person = self._state.people.get(recipient_id)
        if account is None or person is None or person.account_id == account.account.id:
            return account
        other = self._state.accounts[person.account_id]
        return other if other.account.owner_id == account.account.id else account

    def _account(self, target: str, owner: TokenOwner) -> AccountState | None:
        account_id = owner.account_id if target == "me" else target
        return self._state.accounts.get(account_id) if account_id is not None else None

    def _subscribable(self, target: str, account: AccountState | None) -> list[AccountState]:
        """The page, or the numbers of a WhatsApp business account."""
        if account is not None:
            return [account]
        return [
            each
            for each in self._state.accounts.values()
            if each.account.owner_id == target and kind_of(each.account) == WHATSAPP
        ]

    def _debugged(self, request: GraphRequest) -> ApiReply:
        token = request.text("input_token")
        account_id = self._tokens.get(token)
        account = None if account_id is None else self._state.accounts[account_id]
        data: dict[str, object] = {"app_id": self._options.app_id, "expires_at": 0, "scopes": []}
        data["is_valid"] = token in self._tokens and not (account is not None and account.revoked)
        data["type"] = "USER" if account is None else TOKEN_TYPES[kind_of(account.account)]
        if account is not None and kind_of(account.account) == WHATSAPP:
            names = ("whatsapp_business_management", "whatsapp_business_messaging")
            scopes = [{"scope": name, "target_ids": [account.account.owner_id]} for name in names]
            data |= {"scopes": names, "granular_scopes": scopes}
        return json_reply({"data": data})

    def _unproved(self, request: GraphRequest, token: str) -> ApiReply | None:
        options = self._options
        proof = request.text("appsecret_proof")
        if not proof:
            return errors.NEEDS_PROOF if options.proof_required else None
        expected = hmac.new(options.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(proof.encode(), expected.encode()) else errors.BAD_PROOF

    def _exchange(self, request: GraphRequest) -> ApiReply:
        options = self._options
        if request.text("client_id") != options.app_id or request.text("client_secret") != options.app_secret:
            return errors.error("Error validating client secret.", 1)
        token = request.text("fb_exchange_token")
        if request.text("grant_type") != "fb_exchange_token" or token not in self._tokens:
            return errors.bad_token(token)
        digest = hashlib.blake2b(f"{options.seed}:{token}".encode(), digest_size=16).hexdigest()
        long_lived = token if token.startswith("EAALong") else f"EAALong{digest}"
        self._tokens[long_lived] = self._tokens[token]
        return json_reply({"access_token": long_lived, "token_type": "bearer", "expires_in": 5_183_944})

    def _login_token(self, request: GraphRequest) -> ApiReply:
        """Of an account of Instagram Login: 60 days for an hour's token, or 60 more for one of 60 days."""
        options, token = self._options, request.token or ""
        exchanges = request.path == "/access_token"
        if exchanges and request.text("client_secret") != options.app_secret:
            return errors.error("Error validating client secret.", 1)
        lasts = token.startswith(LASTING)
        if request.text("grant_type") != LOGIN_GRANTS[request.path] or token not in self._tokens or lasts is exchanges:
            return errors.error("Session key invalid: the token is unknown, or too old or new", 452)
        digest = hashlib.blake2b(f"{options.seed}:{token}".encode(), digest_size=16).hexdigest()
        issued = f"{LASTING}{digest}"
        self._tokens[issued] = self._tokens[token]
        return json_reply({"access_token": issued, "token_type": "bearer", "expires_in": 5_184_000})

    def _accounts(self, request: GraphRequest) -> ApiReply:
        pages = [each for each in self._state.accounts.values() if kind_of(each.account) == FACEBOOK]
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
        return json_reply(
            {"data": [self._shown(page, request) for page in pages[start : start + size]], "paging": paging}
        )

    def _shown(self, state: AccountState, request: GraphRequest) -> dict[str, object]:
        page = state.account
        if kind_of(page) == WHATSAPP:
            return _shown_number(state, request)
        known: dict[str, object] = {
            "name": page.name,
            "name_with_location_descriptor": page.name,
            "access_token": page.token,
            "is_webhooks_subscribed": state.fields != frozenset(),
        }
        linked = next((each.account for each in self._linked(page.id)), None)
        if linked is not None:
            known["instagram_business_account"] = {"id": linked.id}
        if kind_of(page) == INSTAGRAM:
            known |= {"username": page.name, "user_id": page.id}
        if page.image_url is not None:
            known["picture"] = {"data": {"height": 50, "is_silhouette": False, "url": page.image_url, "width": 50}}
        wanted = request.text("fields").split(",")
        return {name: known[name] for name in wanted if name in known} | {"id": page.id}

    def _linked(self, page_id: str) -> list[AccountState]:
        return [
            each
            for each in self._state.accounts.values()
            if each.account.owner_id == page_id and kind_of(each.account) == INSTAGRAM
        ]

    def _subscribed_apps(self, request: GraphRequest, accounts: list[AccountState]) -> ApiReply:
        number = kind_of(accounts[0].account) == WHATSAPP
        if request.method == "GET":
            if accounts[0].fields == frozenset():
                return json_reply({"data": []})
            app: dict[str, object] = {"id": self._options.app_id}
            if number:
                return json_reply({"data": [{"whatsapp_business_api_data": app | {"name": "simulated app"}}]})
            return json_reply({"data": [app | {"subscribed_fields": sorted(accounts[0].fields or ())}]})
        given = frozenset(filter(None, request.text("subscribed_fields").split(",")))
        if request.method == "POST" and not given and not number:
            return errors.error("(#100) The parameter subscribed_fields is required.", 100)
        for each in accounts:
            each.fields = frozenset() if request.method == "DELETE" else None if number else given
        return json_reply({"success": True})

    def _uploaded(self, request: GraphRequest) -> ApiReply:
        file = request.parameters.get("file")
        if not isinstance(file, SimFile):
            return errors.error("(#100) The parameter file is required.", 100)
        media_id = str(646_000_000_000_000 + self._state.count())
        self._state.keep_file(media_id, file)
        return json_reply({"id": media_id})

    def _profile(self, person: Person, request: GraphRequest) -> ApiReply:
        if person.private:
            return errors.unsupported("get", person.id)
        first, _, last = person.name.partition(" ")
        known = {
            "name": person.name,
            "username": person.name.lower().replace(" ", "."),
            "first_name": first,
            "last_name": last,
            "profile_pic": f"https://cdn.example.net/people/{person.id}.jpg",
        }
        wanted = request.text("fields").split(",")
        return json_reply({name: known[name] for name in wanted if name in known} | {"id": person.id})

    def _conversations(self, request: GraphRequest, state: AccountState) -> ApiReply:
        person = self._state.people.get(request.text("user_id"))
        if person is None or person.account_id != state.account.id:
            return json_reply({"data": []})
        people = [
            {"name": person.name, "email": f"{person.id}@facebook.com", "id": person.id},
            {"name": state.account.name, "email": f"{state.account.id}@facebook.com", "id": state.account.id},
        ]
        return json_reply({"data": [{"participants": {"data": people}, "id": f"t_{person.id}"}]})


def _shown_number(state: AccountState, request: GraphRequest) -> dict[str, object]:
    known: dict[str, object] = {
        "display_phone_number": state.account.name,
        "verified_name": "Corner Bakery",
        "quality_rating": "GREEN",
        "code_verification_status": "VERIFIED",
        "platform_type": "CLOUD_API",
        "status": "CONNECTED",
        "name_status": "APPROVED",
        "throughput": {"level": "STANDARD"},
        "is_on_biz_app": False,
        "whatsapp_business_manager_messaging_limit": "TIER_2K",
        "whatsapp_business_account": {"id": state.account.owner_id},
    }
    wanted = request.text("fields").split(",") if request.text("fields") else list(known)[:3]
    return {name: known[name] for name in wanted if name in known} | {"id": state.account.id}


def _shown_file(media_id: str, file: SimFile, files: str) -> dict[str, object]:
    return {
        "messaging_product": "whatsapp",
        "url": f"{files}/{media_id}",
        "mime_type": file.mime,
        "sha256": sha256_of(file),
        "file_size": len(file.body),
        "id": media_id,
    }
