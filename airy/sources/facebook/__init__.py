"""Facebook Messenger: the exemplar of a source. Each module is one part of the contract; this one ties them
together.
"""

from collections.abc import Mapping, Sequence

from airy.bus.record import Record
from airy.http_client import HttpClient, Response
from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.sources.api import Accepted, Call, Denied, Failed, Outcome, Profile, Routed
from airy.sources.facebook import encode, interpret, manage, route, verify
from airy.sources.facebook.config import FacebookConfig

__all__ = ["Facebook", "FacebookConfig"]


class Facebook:
    """The `Source` of Messenger pages. Instagram, which shares the webhook, is not this one's business."""

    name = "facebook"

    def __init__(self, config: FacebookConfig) -> None:
        self.config = config
        self.send_rate_per_s = config.send_rate_per_s
        self.send_parallel_max = config.send_parallel_max

    def handshake(self, query: Mapping[str, str]) -> str | Denied:
        return verify.handshake(self.config, query)

    def verify(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Accepted | Denied:
        return verify.verify(self.config, headers, body)

    def route(self, record: Record, channels: Mapping[str, Channel]) -> Routed:
        return route.route(record, channels)

    def encode(self, message: Message, conversation: Conversation | None, token: str, now_ms: int) -> Call | Failed:
        return encode.encode(self.config, message, conversation, token, now_ms)

    def interpret(self, answer: Response, now_ms: int) -> Outcome:  # noqa: ARG002 — Meta's answers carry no dates
        return interpret.interpret(answer)

    async def profile(self, fetch: HttpClient, participant_id: str, token: str) -> Profile:
        return await manage.profile(fetch, self.config, participant_id, token)
