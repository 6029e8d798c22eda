"""`airy log import` of a file in this directory, killed after a number of publishes."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airy.bus.kafka import KafkaBus
from airy.bus.record import Position, ProducerRecord
from airy.cli import main

PUBLISHES = 12


def run(path: Path) -> None:
    publish: Any = KafkaBus.publish
    done = 0

    async def counted(bus: KafkaBus, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        nonlocal done
        done += 1
        positions: Sequence[Position] = await publish(bus, records)
        if done == PUBLISHES:
            os.kill(os.getpid(), signal.SIGKILL)
        return positions

    KafkaBus.publish = counted  # type: ignore[assignment, method-assign]
    main(["log", "import", str(path)])


if __name__ == "__main__":
    run(Path(sys.argv[1]))
