"""Pages as the original's own tests expect them: 33 items, over real HTTP."""

from typing import Any

import pytest

from tests.kit.builders import Chat, channel
from tests.kit.conformance import Installation, installation

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

ITEMS = 33


async def page(airy: Installation, chat: Chat, **asked: object) -> tuple[list[int], Any]:
    """The numbers of the messages, 1 the newest, and the pagination."""
    found = await airy.call("messages.list", {"conversation_id": chat.conversation_id, **asked})
    numbers = {chat.inbound_id(nth): nth for nth in range(1, ITEMS + 1)}
    return [numbers[each["id"]] for each in found["data"]], found["pagination_data"]


async def test_lib_3_p1_p2_p3_p4_p5_pages_are_walked_forward_and_back() -> None:
    """Cursors are opaque, and each starts the page that is expected."""
    async with installation() as airy:
        chat = Chat()
        await airy.api.append(channel(), *(chat.received(nth) for nth in range(ITEMS, 0, -1)))
        pages, cursor = [], None
        while not pages or cursor is not None:
            numbers, pagination = await page(airy, chat, page_size=10, cursor=cursor)
            assert pagination["total"] == ITEMS
            assert (pagination["previous_cursor"] is None) == (not pages)
            pages.append(numbers)
            cursor = pagination["next_cursor"]
        assert pages == [list(range(1, 11)), list(range(11, 21)), list(range(21, 31)), [31, 32, 33]]
        back = [pages[-1]]
        while (cursor := pagination["previous_cursor"]) is not None:
            numbers, pagination = await page(airy, chat, page_size=10, cursor=cursor)
            back.append(numbers)
        assert back == pages[::-1]


async def test_lib_3_p6_p7_p8_p9_p10_odd_sizes_and_cursors() -> None:
    async with installation() as airy:
        chat, empty = Chat(), Chat(1)
        await airy.api.append(channel(), *(chat.received(nth) for nth in range(ITEMS, 0, -1)))
        await airy.api.append(empty.received("gone"), empty.deleted("gone"))
        await airy.call("messages.list", {"conversation_id": chat.conversation_id, "cursor": "not a cursor"}, 400)
        numbers, pagination = await page(airy, chat, page_size=200)
        assert numbers == list(range(1, ITEMS + 1))
        assert pagination == {"previous_cursor": None, "next_cursor": None, "total": ITEMS}
        assert await page(airy, empty) == ([], {"previous_cursor": None, "next_cursor": None, "total": 0})
        for size in (None, 0):  # the default of 20, where the original falls to 10: see deviations.md
            assert (await page(airy, chat, page_size=size))[0] == list(range(1, 21))
        for cursor in (None, ""):
            assert (await page(airy, chat, cursor=cursor))[0][0] == 1
