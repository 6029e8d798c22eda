"""No log lines: thousands of processes start and fail in simulations."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


def drop(_logger: Any, _name: str, _event: MutableMapping[str, Any]) -> Any:
    raise structlog.DropEvent


@contextmanager
def silent_logs() -> Iterator[None]:
    """Within it nothing is logged; then logging is as it was, for the tests that read lines."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)
