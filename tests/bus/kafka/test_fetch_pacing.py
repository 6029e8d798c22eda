"""Fetch requests after small responses are delayed, so that records accumulate; no other request is."""

import asyncio  # noqa: TID251 - the client is asyncio's
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from airy.bus.kafka.fetch_pacing import LARGE_BYTES, with_fetch_delay
from tests.kit.event_loops import asyncio_backend

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()], ids=["asyncio"])

FETCH = FetchRequest(500, 1, 1_000_000, 1, [("facts", [(0, 0, 1_000)])])
ENDS = OffsetRequest(-1, 1, [("facts", [(0, -1)])])
GATHER_S = 0.02
NODE, OTHER = 1, 2


class Client:
    """Responds at once, with the next of the given numbers of bytes in the records of two partitions."""

    def __init__(self, *fetched_bytes: int) -> None:
        self._left = list(fetched_bytes)
        self.asked_at: list[float] = []
        self._client = SimpleNamespace(send=self._send)
        with_fetch_delay(self, GATHER_S)

    async def _send(self, node: int, request: Any, *, group: Any) -> Any:
        self.asked_at.append(round(asyncio.get_running_loop().time() - self.began, 6))
        some = self._left.pop(0) // 2
        return SimpleNamespace(topics=[("facts", [(0, 0, 5, b"x" * some), (1, 0, 5, b"x" * some)])])

    async def asks(self, *requests: tuple[int, Any]) -> list[float]:
        """The time of each request, sent one after the other."""
        self.began = asyncio.get_running_loop().time()
        for node, request in requests:
            await self._client.send(node, request)
        return self.asked_at


async def test_a_fetch_after_a_small_response_is_delayed() -> None:
    assert await Client(100, 100, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0.02, 0.04]


async def test_a_fetch_after_an_empty_response_is_not_delayed() -> None:
    assert await Client(0, 0, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0, 0]


async def test_a_reader_that_catches_up_is_not_delayed() -> None:
    assert await Client(LARGE_BYTES, LARGE_BYTES, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0, 0]


async def test_the_delay_is_per_broker_and_for_fetch_requests_only() -> None:
    requests = [(NODE, FETCH), (OTHER, FETCH), (NODE, ENDS), (NODE, FETCH)]
    assert await Client(100, 100, 0, 0).asks(*requests) == [0, 0, 0, 0.02]


async def test_the_first_record_after_a_pause_is_not_delayed() -> None:
    client = Client(100, 0, 100)
    await client.asks((NODE, FETCH))
    await asyncio.sleep(1)
    assert (await client.asks((NODE, FETCH), (NODE, FETCH)))[1:] == [0, 0]
