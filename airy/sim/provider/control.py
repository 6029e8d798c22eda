"""The control API of a simulated provider, `/sim/…`: the same paths for every provider, documents in JSON.

It is for tests and demonstrations, and has no authentication.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from airy.clock import Clock
from airy.errors import Refused
from airy.sim.provider.acts import WRITING, Act, Says
from airy.sim.provider.api import AddressCheck
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.options import SendFault, WebhookFault
from airy.sim.provider.state import Person

SHOWN_MAX = 200  # entries in one response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CheckAddress = Callable[[str, AddressCheck], Awaitable[str | None]]
"""Asks an address as the provider does; returns why the provider would not use it."""


class PersonBody(Struct, frozen=True):
    account: str | None = None
    name: str | None = None


class SayBody(Struct, frozen=True):
    """Without `person` a new one writes."""

    text: str
    person: str | None = None
    account: str | None = None
    name: str | None = None
    reply_to: str | None = None
    payload: str | None = None


class ActingBody(Struct, frozen=True):
    person: str


class FaultBody(Struct, frozen=True):
    """`message_id`: the caller's id, or the text, of the only message that meets the fault."""

    fault: str
    times: int = 1
    message_id: str | None = None
    code: int | None = None
    retry_after_s: int | None = None
    delay_ms: int = 10_000


class ReceiptsBody(Struct, frozen=True):
    """`muted`, or one receipt for `message_id`."""

    muted: bool | None = None
    message_id: str | None = None
    state: str = "delivered"
    code: int | None = None


class WebhookBody(Struct, frozen=True):
    url: str | None
    account: str | None = None


class AccountBody(Struct, frozen=True):
    account: str | None = None
    revoked: bool = False


class ControlApi:
    def __init__(self, core: SimulatedProvider[Any], clock: Clock, refusal: CheckAddress) -> None:
        self._core = core
        self._clock = clock
        self._refusal = refusal

    def add_to(self, app: web.Application) -> None:
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/sim/state", self._state),
            ("GET", "/sim/journal", self._journal),
            ("GET", "/sim/people", self._people),
            ("POST", "/sim/people", self._add_person),
            ("GET", "/sim/people/{person}", self._conversation),
            ("POST", "/sim/say", self._say),
            ("POST", "/sim/act", self._act),
            ("GET", "/sim/faults", self._faults),
            ("POST", "/sim/faults", self._add_fault),
            ("DELETE", "/sim/faults", self._clear_faults),
            ("POST", "/sim/receipts", self._receipts),
            ("POST", "/sim/webhook", self._webhook),
            ("POST", "/sim/account", self._account),
            ("POST", "/sim/reset", self._reset),
        )
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)

    async def _state(self, _request: web.Request) -> web.Response:
        core = self._core
        accounts = [
            {
                "id": account_id,
                "kind": each.account.kind,
                "name": each.account.name,
                "webhook": each.webhook_url,
                "subscribed": each.fields != frozenset(),
                "revoked": each.revoked,
            }
            for account_id, each in core.state.accounts.items()
        ]
        return json_response(
            {
                "provider": core.title,
                "accounts": accounts,
                "people": len(core.state.people),
                "pending": core.pending,
                "quiet": core.quiet,
                "receipts_muted": core.receipts_muted,
                "faults": core.expected(),
            }
        )

    async def _journal(self, _request: web.Request) -> web.Response:
        journal = self._core.journal
        return json_response(
            {
                "sends": list(journal.sends)[-SHOWN_MAX:],
                "webhook_attempts": list(journal.webhook_attempts)[-SHOWN_MAX:],
                "given_up": journal.given_up,
                "violations": journal.violations(),
            }
        )

    async def _people(self, _request: web.Request) -> web.Response:
        people = list(self._core.state.people.values())[-SHOWN_MAX:]
        return json_response({"people": [_shown(person) for person in people]})

    async def _conversation(self, request: web.Request) -> web.Response:
        person = self._core.state.known(request.match_info["person"])
        return json_response(_shown(person) | {"messages": person.lines[-SHOWN_MAX:]})

    async def _add_person(self, request: web.Request) -> web.Response:
        wanted = await _body(request, PersonBody)
        return json_response({"person": self._core.person(wanted.account, wanted.name)})

    async def _say(self, request: web.Request) -> web.Response:
        said = await _body(request, SayBody)
        act = Says(said.text, said.payload, said.reply_to)
        person_id = said.person or self._core.person(said.account, said.name)
        message_id = self._core.acts(person_id, act, self._clock.now_ms())
        return json_response({"person": person_id, "message_id": message_id})

    async def _act(self, request: web.Request) -> web.Response:
        act: Act = await _body(request, Act)
        person_id = (await _body(request, ActingBody)).person
        message_id = self._core.acts(person_id, act, self._clock.now_ms())
        return json_response({"person": person_id} | ({"message_id": message_id} if isinstance(act, WRITING) else {}))

    async def _faults(self, _request: web.Request) -> web.Response:
        return json_response({"faults": self._core.expected()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        wanted = await _body(request, FaultBody)
        self._core.expect(
            _fault(wanted.fault),
            times=wanted.times,
            message_id=wanted.message_id,
            code=wanted.code,
            retry_after_s=wanted.retry_after_s,
            delay_ms=wanted.delay_ms,
        )
        return web.Response(status=204)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._core.expect_nothing()
        return web.Response(status=204)

    async def _receipts(self, request: web.Request) -> web.Response:
        wanted = await _body(request, ReceiptsBody)
        if wanted.muted is not None:
            self._core.receipts_muted = wanted.muted
        if wanted.message_id is not None:
            self._core.report_by_hand(wanted.message_id, wanted.state, wanted.code, self._clock.now_ms())
        return web.Response(status=204)

    async def _webhook(self, request: web.Request) -> web.Response:
        """What an operator enters at a provider without an API for it; asked first, where the provider does."""
        wanted = await _body(request, WebhookBody)
        account = self._core.state.account(wanted.account)
        handshake = self._core.handshake(account.account)
        if wanted.url is not None and handshake is not None:
            refusal = await self._refusal(wanted.url, handshake)
            if refusal is not None:
                raise Refused(refusal, field="url")
        account.webhook_url = wanted.url
        self._core.changed()
        return web.Response(status=204)

    async def _account(self, request: web.Request) -> web.Response:
        wanted = await _body(request, AccountBody)
        self._core.state.account(wanted.account).revoked = wanted.revoked
        return web.Response(status=204)

    async def _reset(self, _request: web.Request) -> web.Response:
        self._core.reset()
        return web.Response(status=204)


@web.middleware
async def refusals_as_400(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (Refused, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return json_response({"message": str(error)}, status=400)


def json_response(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


def _fault(name: str) -> SendFault | WebhookFault:
    known: dict[str, SendFault | WebhookFault] = {each.value: each for each in (*SendFault, *WebhookFault)}
    if name not in known:
        raise Refused(f"unknown fault {name!r}; there are {', '.join(known)}", field="fault")
    return known[name]


async def _body(request: web.Request, shape: Any) -> Any:
    return msgspec.json.decode(await request.read() or b"{}", type=shape)


def _shown(person: Person) -> dict[str, object]:
    return {"id": person.id, "name": person.name, "account": person.account_id, "blocked": person.blocked}
