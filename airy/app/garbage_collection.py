"""Settings of Python's cyclic garbage collector for a process that runs for long.

A collection of the oldest generation visits every object that is older, and most of them are modules, classes and
services that never become garbage: they are taken out. The youngest generation is collected less often, because a
change that goes to 1,000 sockets allocates more than the default of 700 objects several times over.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNGEST_OBJECTS_MAX = 10_000  # allocated more than freed; then it is collected


@contextmanager
def rare_collections() -> Iterator[None]:
    """To be entered when everything is built. Restores the settings, for programs that run a system within."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST_OBJECTS_MAX, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
