"""The connector with a source that has no provider: a send is done once it is claimed, and nothing is called."""

from collections.abc import Callable

import anyio

from airy.actors.connector import Connector
from airy.actors.message_sender import ORPHAN_MS
from airy.http_client import Response
from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import MessageQueued, MessageReceived, SendStarted
from airy.sources.chatplugin.source import ChatPlugin
from airy.sources.chatplugin.spec import ChatPluginSection
from tests.kit.builders import raw
from tests.kit.harness import Harness

CONVERSATION = ids.derive("visitor")
CHANNEL = Channel(id=ids.derive("shop"), source="chatplugin", source_channel_id="shop", connected=True)


async def no_network(*_: object, **__: object) -> Response:
    raise AssertionError("nothing is called")


def chat_harness() -> tuple[Harness, Callable[[], Connector]]:
    harness = Harness()
    harness.channel = CHANNEL
    source = ChatPlugin(ChatPluginSection())

    def connector() -> Connector:
        return Connector(harness.bus, harness.store, harness.projector, [source], no_network, lambda _channel: {})

    return harness, connector


def received(harness: Harness) -> MessageReceived:
    return MessageReceived(
        id=ids.derive("question"),
        message_id=ids.derive("question"),
        conversation_id=CONVERSATION,
        channel_id=CHANNEL.id,
        source="chatplugin",
        at_ms=harness.clock.now_ms(),
        participant_id=CONVERSATION,
        content=raw({"text": "Is the rye bread back?"}),
    )


def queued(harness: Harness, content: object) -> MessageQueued:
    message_id = ids.derive("answer")
    return MessageQueued(
        id=ids.derive(message_id, ":queued"),
        message_id=message_id,
        conversation_id=CONVERSATION,
        channel_id=CHANNEL.id,
        source="chatplugin",
        at_ms=harness.clock.now_ms(),
        sender_id="agent",
        content=raw(content),
    )


async def test_a_message_is_sent_without_a_call() -> None:
    harness, connector = chat_harness()
    async with harness.open(one=connector, two=connector):
        await harness.connect()
        fact = queued(harness, {"text": "Yes, three left."})
        await harness.append(received(harness), fact)

        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.SENT)
        assert (message.attempt_count, message.provider_id) == (1, fact.message_id)


async def test_a_message_the_widget_cannot_show_fails_with_a_reason() -> None:
    harness, connector = chat_harness()
    async with harness.open(connector=connector):
        await harness.connect()
        fact = queued(harness, {"canonical": {"type": "location", "latitude": 52.5, "longitude": 13.4}})
        await harness.append(received(harness), fact)

        message = await harness.until(fact.message_id, lambda message: message.delivery is DeliveryState.FAILED)
        assert b"chatplugin cannot send" in bytes(message.metadata["error"])


async def test_an_attempt_whose_worker_is_gone_is_completed_because_nothing_was_called() -> None:
    harness, connector = chat_harness()
    async with harness.open(connector=connector):
        await harness.connect()
        fact = queued(harness, {"text": "Yes, three left."})
        claim = SendStarted(
            id=ids.derive(fact.message_id, ":attempt:1"),
            conversation_id=CONVERSATION,
            channel_id=CHANNEL.id,
            source="chatplugin",
            at_ms=harness.clock.now_ms(),
            message_id=fact.message_id,
            attempt=1,
            worker="a worker that is gone",
        )
        await harness.append(received(harness), fact, claim)
        await anyio.sleep(ORPHAN_MS / 1000 + 5)

        message = await harness.until(fact.message_id, lambda message: message.delivery is not DeliveryState.SENDING)
        assert (message.delivery, message.attempt) == (DeliveryState.SENT, 1)
