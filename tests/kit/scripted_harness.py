"""The harness with any source of the catalogue, connected to a scripted provider instead of the simulated Messenger."""

import anyio

from airy import topics
from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import Fact, MessageQueued
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels
from tests.kit.builders import raw
from tests.kit.contracts.source import raw_record
from tests.kit.harness import Harness
from tests.kit.providers.base import Webhook, Wire
from tests.kit.scripted_provider import Act, ScriptedProvider


class ScriptedHarness(Harness):
    def __init__(self, wire: Wire, *script: Act, kind: str | None = None, seed: int = 0) -> None:
        super().__init__(seed)
        self.wire = wire
        self.kind = kind or wire.kind
        self.source = wire.source()
        self.provider = ScriptedProvider(wire, self.clock, kind=self.kind, post=self.post)
        self._script = script
        self.channel = wire.channel(wire.accounts[self.kind])
        self.conversation_id = ""  # of the contact, once one has written
        self._received = 0

    def credentials(self, channel: Channel) -> dict[str, Secret]:
        return self.wire.credentials(channel.source)

    async def connect(self, *, connected: bool = True) -> None:
        changed = self.wire.channel(self.channel.source_channel_id, connected=connected)
        await self._settled(await self.bus.publish([topics.CHANNELS.record(changed.id, changed)]))

    def routed(self, webhook: Webhook) -> list[Fact]:
        """The facts of a webhook, as the router makes them."""
        record = raw_record(self.source, webhook.body, account=webhook.account, timestamp_ms=self.clock.now_ms())
        return list(self.source.route(record, ConnectedChannels([self.channel])).facts)

    async def post(self, webhook: Webhook) -> None:
        await self.append(*self.routed(webhook))

    async def receive(self, text: str) -> None:
        """The contact writes."""
        self._received += 1
        facts = self.routed(self.wire.received(self.kind, self._received, text, self.clock.now_ms()))
        self.conversation_id = facts[0].conversation_id
        await self.append(*facts)

    async def begin(self) -> None:
        """A connected channel and a contact with a profile; then the provider follows the script."""
        await self.connect()
        await self.receive("is the rye bread back?")
        await anyio.sleep(5)
        self.provider.script.extend(self._script)

    def queued(self, text: str, *, conversation_id: str | None = None, ttl_ms: int = 3_600_000) -> MessageQueued:
        message_id = ids.derive("queued", text)
        return MessageQueued(
            id=ids.derive(message_id, ":queued"),
            message_id=message_id,
            channel_id=self.channel.id,
            source=self.channel.source,
            conversation_id=conversation_id or self.conversation_id,
            at_ms=self.clock.now_ms(),
            sender_id="agent",
            content=raw({"canonical": {"type": "text", "text": text}}),
            expires_at_ms=self.clock.now_ms() + ttl_ms,
        )
