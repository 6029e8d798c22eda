"""Simulations log nothing: thousands of processes start and fail in them."""

import pytest
import structlog

from tests.sim.simulation import DROP


@pytest.fixture(autouse=True)
def _silent_logs() -> None:
    structlog.configure(processors=[DROP])
