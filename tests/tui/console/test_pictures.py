"""The pictures in docs/ are what the console shows."""

import os
import time
from collections.abc import Iterator

import pytest

from airy.tui.console.navigation import VIEWS, Entry
from tests.kit.event_loops import asyncio_backend
from tests.kit.pictures import PICTURES, picture, use_utc

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def _greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", os.environ.get("TZ", ""))  # put back at the end
    use_utc()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_greenwich")
@pytest.mark.parametrize("entry", VIEWS, ids=lambda entry: entry.name)
async def test_the_picture_of_a_view_is_current(entry: Entry) -> None:
    assert await picture(entry) == (PICTURES / f"{entry.name}.svg").read_text(), "run `make pictures` and look at it"


def test_every_picture_is_of_a_view(anyio_backend: object) -> None:
    del anyio_backend
    assert {path.stem for path in PICTURES.glob("*.svg")} == {entry.name for entry in VIEWS}
