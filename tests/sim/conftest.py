"""Simulations log nothing."""

from collections.abc import Iterator

import pytest

from tests.kit.silent_logs import silent_logs


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with silent_logs():
        yield
