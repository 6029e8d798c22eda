"""Rate-limits aiokafka's repeated log messages: while a broker is away it logs the same one ten times a second."""

import logging
from itertools import chain
from typing import Final

import aiokafka

INTERVAL_S: Final = 30.0
MESSAGES_MAX: Final = 1_000


class LogThrottle(logging.Filter):
    """Passes a message of a logger once per interval, and adds how many were suppressed to the next one."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}  # when last, and how many suppressed since

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        at, suppressed = self._passed.get(key, (float("-inf"), 0))
        if record.created < at + self._interval_s:
            self._passed[key] = (at, suppressed + 1)
            return False
        if len(self._passed) >= MESSAGES_MAX:
            self._passed.clear()
        self._passed[key] = (record.created, 0)
        if suppressed:
            record.msg = f"{record.getMessage()} (and {suppressed} more of these)"
            record.args = ()
        return True


_THROTTLE = LogThrottle()


def install() -> None:
    """Add the filter to every logger of the client. Idempotent."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith(f"{aiokafka.__name__}.")]
    for name in chain([aiokafka.__name__], known):
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.level))
        logger.addFilter(_THROTTLE)
