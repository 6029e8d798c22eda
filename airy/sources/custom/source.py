"""Custom sources: ties the parts of the contract together."""

from collections.abc import Collection, Sequence

from airy.errors import Refused
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.sources.api import Call, Connected, Failed, Installation, Outcome, Target
from airy.sources.canonical import Contents
from airy.sources.custom import content as contents
from airy.sources.custom import encode, interpret
from airy.sources.custom.spec import SPEC
from airy.sources.spec import ChannelForm, SourceSection


class Custom:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        pass

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(content)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:  # noqa: ARG002
        return encode.encode(message, target)

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002
        return interpret.interpret(answers)

    async def connect(
        self,
        client: HttpClient,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        form: ChannelForm,  # noqa: ARG002
        installation: Installation,  # noqa: ARG002
    ) -> Connected:
        raise Refused("a custom source makes its channels itself, with sources.channels.create")

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:  # noqa: ARG002
        return None

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:  # noqa: ARG002
        return ()

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:  # noqa: ARG002
        return ()
