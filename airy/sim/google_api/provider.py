"""A simulated API of Google: access tokens, the check of a webhook's address, its signature, the ids of messages.

The key of webhooks is posted as `clientToken` with a `secret` when an address is entered, and the response has to be
that secret. A webhook that is not acknowledged is repeated with growing waits for a week.
"""

import hmac
from abc import abstractmethod
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

import msgspec
from msgspec import Struct

from airy.sim.google_api import errors, service_account
from airy.sim.google_api.options import GoogleApiOptions
from airy.sim.google_api.token_endpoint import PATH, TokenEndpoint
from airy.sim.provider.api import AddressCheck, ApiReply, ApiRequest, PendingWebhook
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.outbox import Redelivery
from airy.sim.provider.sends import SimMessage

RETRY_MS = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 600_000)
GIVE_UP_MS = 7 * 86_400_000
SIGNALS_MAX = 1_000

G = TypeVar("G", bound=GoogleApiOptions)


class AgentSignal(Struct, frozen=True):
    """What an agent showed a person besides messages. `message_id`: what it read."""

    person_id: str
    kind: str
    message_id: str = ""


class GoogleApi(SimulatedProvider[G]):
    redelivery: ClassVar = Redelivery(retry_ms=RETRY_MS, give_up_ms=GIVE_UP_MS)
    scope: ClassVar[str]
    webhook_path: ClassVar[str]  # at an installation

    def __init__(self, options: G, *, now_ms: int = 0) -> None:
        self.signals: deque[AgentSignal] = deque(maxlen=SIGNALS_MAX)
        known = service_account.known(options.json_key)
        self._tokens = TokenEndpoint(known, self.scope, options.clock_off_s_max)
        super().__init__(options, now_ms=now_ms)

    @abstractmethod
    def resource(self, request: ApiRequest, now_ms: int) -> ApiReply:
        """A call with a valid token."""

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        revoked = any(each.revoked for each in self.state.accounts.values())
        if request.path == PATH and request.method == "POST":
            if revoked:
                return errors.token_error("invalid_grant", "Invalid JWT Signature.")
            return self._tokens.answer(request, now_ms, f"ya29.{self.state.digest('token', self.state.count())}")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if revoked or scheme.lower() != "bearer" or not self._tokens.is_valid(token, now_ms):
            return errors.error(401)
        return self.resource(request, now_ms)

    def read_by_agent(self, person_id: str, message_id: str) -> None:
        line = self.state.known(person_id).line(message_id)
        if line is not None and line.from_person:
            line.state = "read"
        self.signals.append(AgentSignal(person_id, "READ", message_id))

    # --- sends

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        return errors.error(errors.FAULTS.get(fault, code or 400), retry_after_s=retry_after_s)

    def code_of(self, reply: ApiReply) -> int | None:
        return errors.code_of(reply)

    def is_repeated(self, send: SimMessage) -> bool:
        person = self.state.people.get(send.recipient_id)
        return person is not None and person.line(send.our_id) is not None

    # --- ids

    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        """Google takes the caller's id of an account's message as its own."""
        match about:
            case ("sent", our_id, *_):
                return str(our_id)
        return self.state.digest(person_id, *about)

    # --- webhooks

    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """A response says nothing besides its status."""

    def handshake(self, account: SimAccount) -> AddressCheck:
        secret = str(self.state.draw("secret", account.id).randrange(10**10))
        body = msgspec.json.encode({"clientToken": self.options.webhook_key, "secret": secret})
        return AddressCheck(self.webhook_path, secret, body, "key of webhooks")

    def signed(self, content: bytes) -> Mapping[str, str]:
        """Headers of a webhook whose signed part is `content`."""
        signature = hmac.digest(self.options.webhook_key.encode(), content, "sha512")
        return {"content-type": "application/json", "x-goog-signature": b64encode(signature).decode()}


def written_time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
