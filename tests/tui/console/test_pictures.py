"""The pictures in docs/ and the snapshots at three sizes and two themes are what the console shows."""

import os
import time
from collections.abc import Iterator

import pytest

from airy.tui.console.navigation import VIEWS, Entry
from tests.kit.event_loops import asyncio_backend
from tests.kit.pictures import PICTURES, picture, use_utc
from tests.kit.snapshots import SIZES, SNAPSHOTS, THEMES, path_of, snapshots

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


@pytest.mark.usefixtures("_greenwich")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [SIZES[0], *(pytest.param(size, marks=pytest.mark.slow) for size in SIZES[1:])])
async def test_every_view_is_drawn_as_in_its_snapshot_and_fits(size: tuple[int, int], theme: str) -> None:
    for view, drawn in (await snapshots(size, theme)).items():
        assert drawn == path_of(view, size, theme).read_text(), f"{view}: run `make pictures` and look at it"
        assert max(map(len, drawn.splitlines()[: size[1]])) <= size[0]


def test_every_snapshot_is_of_a_view(anyio_backend: object) -> None:
    del anyio_backend
    assert set(SNAPSHOTS.iterdir()) == {
        path_of(v.name, size, theme) for v in VIEWS for size in SIZES for theme in THEMES
    }
