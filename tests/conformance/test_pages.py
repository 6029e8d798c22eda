"""Contacts of several pages, as in the original's test of its router: through ingress, router and fold."""

from random import Random

import anyio
import msgspec

from airy import topics
from airy.model import ids
from tests.kit.builders import channel
from tests.kit.in_process import InProcessAiry

PAGES = [f"20491837700{nth}" for nth in range(5)]
PEOPLE = [f"61200000000000{nth:02}" for nth in range(5)]
MESSAGES = 3  # of each contact to each page


async def test_fb_2_f2_each_contact_of_each_page_has_a_conversation_with_every_message() -> None:
    airy = InProcessAiry()
    async with airy.open():
        channels = [channel("facebook", page) for page in PAGES]
        await airy.bus.publish([topics.CHANNELS.record(each.id, each) for each in channels])
        said = [(page, person, nth) for page in PAGES for person in PEOPLE for nth in range(MESSAGES)]
        Random(7).shuffle(said)
        for page, person, nth in said:
            event = {
                "sender": {"id": person},
                "recipient": {"id": page},
                "timestamp": airy.clock.now_ms(),
                "message": {"mid": f"m_{page}_{person}_{nth}", "text": "Hi"},
            }
            entry = {"id": page, "time": airy.clock.now_ms(), "messaging": [event]}
            assert (await airy.posts(msgspec.json.encode({"object": "page", "entry": [entry]}))).status == 200

        wanted = {ids.conversation_id(ids.channel_id("facebook", page), person) for page in PAGES for person in PEOPLE}
        found: dict[str, int] = {}
        with anyio.fail_after(120):
            while sum(found.values()) < len(said):
                await anyio.sleep(1)
                listed = (await airy.asked("/conversations.list", {"page_size": 100}))["data"]
                found = {each["id"]: each["metadata"]["unread_count"] for each in listed}
        assert found == dict.fromkeys(wanted, MESSAGES)
