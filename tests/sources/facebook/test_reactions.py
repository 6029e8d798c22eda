"""A reaction of ours goes through all layers like a message, without an id of its own."""

import anyio
import msgspec
import pytest

from airy.model import ids
from tests.kit.in_process import InProcessAiry
from tests.kit.providers.meta import ACCOUNT, PAGE, FacebookWire, InstagramWire, MetaWire


@pytest.mark.parametrize(("kind", "account"), [("facebook", PAGE), ("instagram", ACCOUNT)])
async def test_a_reaction_is_sent_and_the_next_message_follows_it(kind: str, account: str) -> None:
    wire: MetaWire = FacebookWire() if kind == "facebook" else InstagramWire()
    airy = InProcessAiry(wire=wire)
    async with airy.open():
        await airy.connect_form()
        await airy.deliver(wire.received(kind, 1, "hello", airy.clock.now_ms()))
        await anyio.sleep(2)
        conversation_id = ids.conversation_id(ids.channel_id(kind, account), wire.participant)
        (received,) = (await airy.asked("/messages.list", {"conversation_id": conversation_id}))["data"]
        details = {"message_id": received["metadata"]["source"]["id"], "reaction": "😊"}
        content = {"sender_action": "react", "payload": details}
        for message in (content, {"text": "Yes."}):
            await airy.asked("/messages.send", {"conversation_id": conversation_id, "message": message})
        await anyio.sleep(5)

        calls = [msgspec.json.decode(each.body) for each in airy.provider.requests if each.path.endswith("/messages")]
        assert [call.get("sender_action") for call in calls] == ["react", None]
        assert calls[0]["payload"] == details
        answer, reaction, _ = (await airy.asked("/messages.list", {"conversation_id": conversation_id}))["data"]
        assert [answer["delivery_state"], reaction["delivery_state"]] == ["delivered", "delivered"]
        assert "id" not in reaction["metadata"]["source"]
