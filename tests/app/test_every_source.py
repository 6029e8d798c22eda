"""All of Airy in one process with each source of the catalogue: both messages of a conversation reach the webhook."""

import msgspec
import pytest

from tests.kit.in_process import InProcessAiry
from tests.kit.providers import WIRES


@pytest.mark.parametrize("source", list(WIRES))
async def test_a_conversation_reaches_provider_and_webhook(source: str) -> None:
    wire = type(WIRES[source])()  # its own, because connecting changes what the provider knows
    async with InProcessAiry(wire=wire).open() as here:
        provider = here.provider
        await here.connect_form()
        await here.subscribe("message.created")
        await here.deliver(provider.wire.received(provider.kind, 1, "Is the rye bread back?", here.clock.now_ms()))
        await here.until(lambda: here.endpoint.accepted)
        (conversation,) = (await here.asked("/conversations.list"))["data"]
        answer = {"canonical": {"type": "text", "text": "Yes, three left."}}
        await here.asked("/messages.send", {"conversation_id": conversation["id"], "message": answer})
        await here.until(lambda: provider.delivered and len(here.endpoint.accepted) == 2)

        assert [attempt.taken.text for attempt in provider.delivered] == ["Yes, three left."]
        messages = [msgspec.json.decode(each.body)["payload"]["message"] for each in here.endpoint.accepted]
        assert [message["from_contact"] for message in messages] == [True, False]
