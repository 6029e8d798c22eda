"""The client's own log, made bearable: while a broker is away it says the same thing ten times a second."""

import logging
from itertools import chain
from typing import Final

import aiokafka

EVERY_S: Final = 30.0
NAMES_MAX: Final = 1_000


class Hush(logging.Filter):
    """The same words of the same logger once in a while; what it keeps back is counted in the next one."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        at, kept_back = self._said.get(key, (float("-inf"), 0))
        if record.created < at + self._every_s:
            self._said[key] = (at, kept_back + 1)
            return False
        if len(self._said) >= NAMES_MAX:
            self._said.clear()
        self._said[key] = (record.created, 0)
        if kept_back:
            record.msg = f"{record.getMessage()} (and {kept_back} more of these)"
            record.args = ()
        return True


_HUSH = Hush()


def hush() -> None:
    """Put the filter on every logger of the client; again and again is harmless."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith(f"{aiokafka.__name__}.")]
    for name in chain([aiokafka.__name__], known):
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.level))
        logger.addFilter(_HUSH)
