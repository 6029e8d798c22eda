"""The notice board in one module: it is an example of the contract, not of the anatomy."""

import hmac
from collections.abc import Collection, Sequence

import msgspec

from airy.bus.record import Record
from airy.errors import Refused
from airy.http_client import HttpClient, Response
from airy.model import ids
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import MessageReceived, ReceiptReported
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import (
    Accepted,
    AccountKey,
    Accounts,
    Call,
    Channels,
    Connected,
    Denied,
    Failed,
    Installation,
    Lost,
    Outcome,
    Routed,
    Sent,
    Target,
    Verdict,
    WebhookRequest,
)
from airy.sources.calling import call
from airy.sources.fact_origin import cause_of, fact_origin
from airy.sources.spec import ChannelForm, SourceSection, narrow
from tests.kit.paper_source.spec import SPEC, ConnectBoard, PaperSection

JSON = Secret("application/json")


class Paper:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        self._section = narrow(section, PaperSection)

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        given, key = request.header(b"x-paper-signature"), self._section.signing_key
        digest = hmac.new(key.reveal().encode(), request.body, "sha256").hexdigest().encode() if key else b""
        if len(given) != 1 or not key or not hmac.compare_digest(given[0], digest):
            return Denied(403, "the signature is not of this body")
        return Accepted(request.parameters["board"])

    def route(self, record: Record, channels: Channels) -> Routed:
        board = record.key.decode()
        channel = channels.by_account("paper", board)
        if channel is None:
            return Routed([], [AccountKey("paper", board)], [])
        notice = payload.record(payload.value(payload.members(record.value or b"")["notice"]))
        contact, number = str(notice["contact"]), str(notice["id"])
        origin = fact_origin(channel, contact, record.timestamp_ms, cause_of(record))
        if "state" in notice:
            state = DeliveryState(str(notice["state"]))
            fact_id = ids.derive(channel.id, f"receipt:{number}:{state}")
            return Routed([ReceiptReported(id=fact_id, state=state, provider_ids=(number,), **origin)], [], [])
        message_id = ids.message_id(channel.id, number)
        return Routed(
            [
                MessageReceived(
                    id=message_id,
                    message_id=message_id,
                    provider_id=number,
                    participant_id=contact,
                    content=msgspec.Raw(msgspec.json.encode(notice)),
                    canonical=canonical.encode(self.canonical(notice)),
                    **origin,
                )
            ],
            [],
            [],
        )

    def canonical(self, content: object) -> canonical.Contents:
        return (canonical.TextContent(text=str(payload.record(content).get("text"))),)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        wanted = canonical.outbound(payload.value(message.content))
        if not isinstance(wanted, canonical.TextContent):
            return Failed(kind="invalid", error="a board takes text")
        key = target.credentials["board_key"]
        body = msgspec.json.encode({"to": target.recipient(message), "text": wanted.text})
        url = Secret(f"{self._section.api_url}/{key.reveal()}/notices")
        return [Call("POST", url, {"content-type": JSON}, body, (key,))]

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:
        if answers[-1].status != 200:
            return Failed(kind="provider", error=f"the board answered {answers[-1].status}", again_s=1.0)
        number = payload.record(msgspec.json.decode(answers[-1].body)).get("id")
        return Sent(str(number)) if number else Lost("the board named no notice")

    async def connect(self, client: HttpClient, kind: str, form: ChannelForm, installation: Installation) -> Connected:
        board = narrow(form, ConnectBoard)
        url = Secret(f"{self._section.api_url}/{board.board_key.reveal()}/boards")
        response = await call(client, Call("GET", url, {}, None, (board.board_key,)))
        if response.status != 200:
            raise Refused("the board does not know this key", field="board_key")
        return Connected(
            account=board.board, name=board.name or board.board, credentials={"board_key": board.board_key}
        )

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        return None

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:
        return ()

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        return ()
