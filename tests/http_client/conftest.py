"""Sockets have no virtual time: these tests run on asyncio, with a clock that they move."""

import asyncio  # noqa: TID251 - the adapter's loop
from collections.abc import AsyncIterator

import pytest

from tests.kit.raw_http import Clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    loop = asyncio.get_running_loop()
    yield Clock(loop)
    del loop.time  # type: ignore[attr-defined]
