"""Which tests a worker of pytest-xdist is given together."""

from pathlib import Path

import pytest

from tests.kit.scheduling import SHARING, unit_of


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/http/test_login.py::TestA::test_b[x::y]", "tests/http/test_login.py"),
        ("tests/e2e/test_kill.py::test_b[asyncio]", "tests/e2e/test_kill.py::test_b[asyncio]"),
        (f"{SHARING[0]}::test_b[http]", SHARING[0]),
    ],
)
def test_a_module_stays_together_unless_its_tests_take_long(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


def test_the_modules_that_share_a_server_exist() -> None:
    assert all((Path(__file__).parents[1] / path).exists() for path in SHARING)
