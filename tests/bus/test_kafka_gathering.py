"""Fetches of a reader gather: what comes at short intervals is read together, and nobody else waits for it."""

import asyncio  # noqa: TID251 - the client is asyncio's
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from airy.bus.kafka.gathering import LARGE_BYTES, gathering
from tests.kit.world import asyncio_world

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_world()], ids=["asyncio"])

FETCH = FetchRequest(500, 1, 1_000_000, 1, [("facts", [(0, 0, 1_000)])])
ENDS = OffsetRequest(-1, 1, [("facts", [(0, -1)])])
GATHER_S = 0.02
NODE, OTHER = 1, 2


class Client:
    """Answers at once, each time with the next of so many bytes in two partitions' records."""

    def __init__(self, *fetched_bytes: int) -> None:
        self._left = list(fetched_bytes)
        self.asked_at: list[float] = []
        self._client = SimpleNamespace(send=self._send)
        gathering(self, GATHER_S)

    async def _send(self, node: int, request: Any, *, group: Any) -> Any:
        self.asked_at.append(round(asyncio.get_running_loop().time() - self.began, 6))
        some = self._left.pop(0) // 2
        return SimpleNamespace(topics=[("facts", [(0, 0, 5, b"x" * some), (1, 0, 5, b"x" * some)])])

    async def asks(self, *requests: tuple[int, Any]) -> list[float]:
        """When each was asked, one after the other."""
        self.began = asyncio.get_running_loop().time()
        for node, request in requests:
            await self._client.send(node, request)
        return self.asked_at


async def test_a_fetch_after_a_small_answer_waits_for_more_to_come() -> None:
    assert await Client(100, 100, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0.02, 0.04]


async def test_after_an_answer_without_records_nothing_is_waited_for() -> None:
    assert await Client(0, 0, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0, 0]


async def test_who_catches_up_waits_for_nothing() -> None:
    assert await Client(LARGE_BYTES, LARGE_BYTES, 100).asks(*[(NODE, FETCH)] * 3) == [0, 0, 0]


async def test_one_broker_does_not_wait_for_another_and_questions_wait_for_nobody() -> None:
    requests = [(NODE, FETCH), (OTHER, FETCH), (NODE, ENDS), (NODE, FETCH)]
    assert await Client(100, 100, 0, 0).asks(*requests) == [0, 0, 0, 0.02]


async def test_what_comes_after_a_silence_is_asked_for_already() -> None:
    client = Client(100, 0, 100)
    await client.asks((NODE, FETCH))
    await asyncio.sleep(1)
    assert (await client.asks((NODE, FETCH), (NODE, FETCH)))[1:] == [0, 0]
