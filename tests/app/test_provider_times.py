"""The order that clients see is the log's, and no time of a provider's can spoil list, window or read state."""

from typing import Any

import anyio
import msgspec

from airy.sim.graph import DEMO_PAGE
from tests.kit.in_process import InProcessAiry

TEN_YEARS_MS = 10 * 365 * 86_400_000


async def told(here: InProcessAiry, timestamp: object, **node: object) -> None:
    """An event of the contact's, stamped with any time."""
    ends = {"sender": {"id": here.person}, "recipient": {"id": DEMO_PAGE.id}, "timestamp": timestamp}
    entry = {"id": DEMO_PAGE.id, "time": timestamp, "messaging": [{**ends, **node}]}
    assert (await here.posts(msgspec.json.encode({"object": "page", "entry": [entry]}))).status == 200


async def asked_question(here: InProcessAiry, timestamp: object) -> str:
    """The conversation of a question stamped with any time."""
    here.messenger.says(here.person, "open?", here.clock.now_ms())  # Meta's own clock is right
    await told(here, timestamp, message={"mid": "m_1", "text": "open?"})
    with anyio.fail_after(60):
        while not (found := (await here.asked("/conversations.list", {}))["data"]):
            await anyio.sleep(0.1)
    return str(found[0]["id"])


async def answered(here: InProcessAiry, conversation_id: str) -> dict[str, Any]:
    """Our answer, once it is sent."""
    body = {"conversation_id": conversation_id, "message": {"text": "until six"}}
    answer = await here.asked("/messages.send", body)
    with anyio.fail_after(60):
        while (message := await latest(here, conversation_id))["delivery_state"] == "pending":
            await anyio.sleep(0.1)
    assert message["id"] == answer["id"]
    return message


async def latest(here: InProcessAiry, conversation_id: str) -> dict[str, Any]:
    listed: list[dict[str, Any]] = (await here.asked("/messages.list", {"conversation_id": conversation_id}))["data"]
    return listed[0]


async def test_an_answer_follows_a_question_that_is_stamped_ahead_of_our_clock() -> None:
    here = InProcessAiry()
    async with here.open():
        await here.connect()
        conversation_id = await asked_question(here, here.clock.now_ms() + 300_000)
        answer = await answered(here, conversation_id)

        [conversation] = (await here.asked("/conversations.list", {}))["data"]
        listed = (await here.asked("/messages.list", {"conversation_id": conversation_id}))["data"]
        assert conversation["last_message"]["id"] == answer["id"]
        assert [message["from_contact"] for message in listed] == [False, True]
        assert listed[0]["sent_at"] < listed[1]["sent_at"], "times are shown as they are"


async def test_a_question_stamped_in_seconds_can_be_answered() -> None:
    here = InProcessAiry()
    async with here.open():
        await here.connect()
        asked_at_ms = here.clock.now_ms()
        conversation_id = await asked_question(here, asked_at_ms // 1000)
        assert (await answered(here, conversation_id))["delivery_state"] == "delivered"

        view = await here.store.conversation(conversation_id)
        assert view is not None
        assert view.conversation.window_until_ms == asked_at_ms // 1000 * 1000 + 86_400_000


async def test_a_time_ten_years_ahead_opens_no_window_and_a_read_watermark_ahead_reads_no_later_answer() -> None:
    here = InProcessAiry()
    async with here.open():
        await here.connect()
        asked_at_ms = here.clock.now_ms()
        conversation_id = await asked_question(here, asked_at_ms + TEN_YEARS_MS)
        view = await here.store.conversation(conversation_id)
        assert view is not None
        assert view.conversation.window_until_ms == asked_at_ms + 86_400_000
        assert view.conversation.activity_at_ms == asked_at_ms

        await told(here, asked_at_ms + TEN_YEARS_MS, read={"watermark": asked_at_ms + TEN_YEARS_MS})
        await anyio.sleep(1)
        answer = await answered(here, conversation_id)
        assert answer["metadata"]["source"]["delivery_state"] == "sent"
