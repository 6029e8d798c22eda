"""The board's side."""

import hmac
from typing import ClassVar

import msgspec

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.spec import ChannelForm
from tests.kit.paper_source.spec import SPEC, ConnectBoard, PaperSection
from tests.kit.providers.base import Headers, Request, Taken, Webhook, Wire, answer

SIGNING_KEY, BOARD_KEY = "signing-key-of-the-board", "key-of-the-board"


class PaperWire(Wire):
    spec = SPEC
    section = PaperSection(enabled=True, signing_key=Secret(SIGNING_KEY))
    host = "paper.example.org"
    secrets = (SIGNING_KEY, BOARD_KEY)
    accounts: ClassVar = {"paper": "hall"}
    participant = "ines"
    text: ClassVar = {"text": "Yes."}
    addresses = ("api_url",)

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"board_key": Secret(BOARD_KEY)}

    def form(self, kind: str) -> ChannelForm:
        return ConnectBoard(board="hall", board_key=Secret(BOARD_KEY))

    def signed(self, webhook: Webhook) -> Headers:
        digest = hmac.new(SIGNING_KEY.encode(), webhook.body, "sha256").hexdigest()
        return [(b"x-paper-signature", digest.encode())]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-paper-signature", b"0" * 64)]

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path=f"/paper/{account}", body=body, account=account)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        notice = {"id": f"n-{number}", "contact": self.participant, "text": text}
        return self.wrapped(msgspec.json.encode({"notice": notice}), "hall")

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        notice = {"id": provider_id, "contact": self.participant, "state": str(state)}
        return self.wrapped(msgspec.json.encode({"notice": notice}), "hall")

    def taken(self, request: Request) -> Taken | None:
        if not request.path.endswith("/notices"):
            return None
        return Taken(str(request.fields["to"]), str(request.fields["text"]))

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        return f"o-{number}", answer(200, {"id": f"o-{number}"})

    def rate_limited(self, delay_s: int) -> Response:
        return answer(429, {})

    def token_refused(self) -> Response:
        return answer(401, {})

    def contact_blocked(self) -> Response:
        return answer(403, {})

    def managed(self, request: Request) -> Response:
        return answer(200, {"boards": ["hall"]})
