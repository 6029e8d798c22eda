"""Which tests a worker of pytest-xdist is given together.

A module goes to one worker: its fixtures, such as a broker that takes ten seconds to start, are built once instead of
once per worker, and a thousand messages between the processes fall away. The tests of `APART` take long, so that each
goes to the worker that is free, except where such a module shares a server.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

APART = ("tests/cluster/", "tests/e2e/", "tests/sim/")
SHARING = ("tests/cluster/test_acls.py", "tests/e2e/test_documented_programs.py")


class ModuleScheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Hands modules out in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """The tests with the same value stay together."""
    path = nodeid.partition("::")[0]
    return nodeid if path.startswith(APART) and path not in SHARING else path
