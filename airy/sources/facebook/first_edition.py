"""Messenger by the first edition of the contract, in terms of the second."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources import api as contract
from airy.sources import first_edition as api
from airy.sources.accounts import ConnectedChannels
from airy.sources.facebook import encode, interpret, manage, route, verify
from airy.sources.meta.app import MetaApp


class FirstConfig(MetaApp, frozen=True):
    send_rate_per_s: float = 40.0
    send_parallel_max: int = 16


def _target(token: str, conversation: Conversation | None = None, account: str = "") -> contract.Target:
    channel = Channel(id="", source="facebook", source_channel_id=account, connected=True)
    return contract.Target(channel=channel, conversation=conversation, credentials={"token": Secret(token)})


class FirstFacebook:
    name = "facebook"

    def __init__(self, config: FirstConfig) -> None:
        self.config = config
        self.send_rate_per_s = config.send_rate_per_s
        self.send_parallel_max = config.send_parallel_max

    def handshake(self, query: Mapping[str, str]) -> str | api.Denied:
        request = contract.WebhookRequest(method="GET", url="", path="/facebook", query=urlencode(query))
        verdict = verify.verify(self.config, request)
        return verdict if isinstance(verdict, contract.Denied) else getattr(verdict, "body", b"").decode()

    def verify(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> api.Accepted | api.Denied:
        request = contract.WebhookRequest(method="POST", url="", path="/facebook", headers=headers, body=body)
        verdict = verify.verify(self.config, request)
        return verdict if isinstance(verdict, contract.Denied) else api.Accepted(getattr(verdict, "account", ""))

    def route(self, record: Record, channels: Mapping[str, Channel]) -> api.Routed:
        routed = route.route(record, ConnectedChannels(channels.values()))
        return api.Routed(routed.facts, [key.account for key in routed.unknown], routed.unreadable)

    def encode(
        self, message: Message, conversation: Conversation | None, token: str, now_ms: int
    ) -> api.Call | api.Failed:
        calls = encode.encode(self.config, message, _target(token, conversation), now_ms)
        if isinstance(calls, contract.Failed):
            return calls
        (call,) = calls
        headers = {name: value.reveal() for name, value in call.headers.items()}
        return api.Call(call.method, call.url.reveal(), headers, call.body)

    def interpret(self, answer: Response, now_ms: int) -> api.Outcome:  # noqa: ARG002
        return interpret.interpret([answer])

    async def profile(self, fetch: HttpClient, participant_id: str, token: str) -> api.Profile:
        target = _target(
            token,
            Conversation(
                id="", channel_id="", source="", participant_id=participant_id, created_at_ms=0, updated_at_ms=0
            ),
        )
        found = await manage.profile(fetch, self.config, target)
        return api.Profile(found.found, found.display_name, found.avatar_url)


def first_edition(source: contract.Source) -> FirstFacebook:
    app = getattr(source, "app")  # noqa: B009
    return FirstFacebook(FirstConfig(**msgspec.structs.asdict(app)))
