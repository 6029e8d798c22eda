"""The chat plugin: ties the parts of the contract together. No method calls out."""

from collections.abc import Collection, Sequence

from airy.errors import Refused, Undecodable
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.sources import payload
from airy.sources.api import Call, Connected, Failed, Installation, Outcome, Target
from airy.sources.canonical import Contents
from airy.sources.chatplugin import content as contents
from airy.sources.chatplugin.spec import SPEC, ConnectChatPlugin
from airy.sources.spec import ChannelForm, SourceSection, narrow


class ChatPlugin:
    spec = SPEC

    def __init__(self, section: SourceSection, public_url: str = "") -> None:
        pass

    def canonical(self, content: object) -> Contents:
        return contents.canonical_of(content)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:  # noqa: ARG002
        if target.recipient(message) != message.conversation_id:
            return Failed(kind="not_found", error="no visitor: a chat begins with the visitor's first message")
        try:
            contents.widget_content(payload.value(message.content))
        except (Refused, Undecodable) as error:
            return Failed(kind="invalid", error=str(error))
        return ()

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:  # noqa: ARG002
        raise AssertionError("no call was made")

    async def connect(
        self,
        client: HttpClient,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        form: ChannelForm,
        installation: Installation,  # noqa: ARG002
    ) -> Connected:
        given = narrow(form, ConnectChatPlugin)
        return Connected(account=given.name, name=given.name, image_url=given.image_url)

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:  # noqa: ARG002
        return None

    def mark_read(self, target: Target, provider_id: str) -> Sequence[Call]:  # noqa: ARG002
        return ()

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:  # noqa: ARG002
        return ()
