"""All sources have the same structure."""

from importlib import import_module
from pathlib import Path

import pytest

import airy.sources
from tests.kit.contracts.source import load

PACKAGES = sorted(path.parent for path in Path(airy.sources.__file__).parent.glob("*/__init__.py"))
PARTS = ("verify", "route", "encode", "interpret", "manage")
MEMBERS = ("handshake", "verify", "route", "encode", "interpret", "profile")


@pytest.fixture(params=PACKAGES, ids=lambda path: path.name)
def package(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_sources() -> None:
    assert "facebook" in [path.name for path in PACKAGES]


def test_every_part_has_its_module(package: Path) -> None:
    assert [part for part in PARTS if not (package / f"{part}.py").exists()] == []


def test_one_class_implements_the_source(package: Path) -> None:
    module = import_module(f"airy.sources.{package.name}")
    (source,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and getattr(thing, "name", None) == package.name
    )
    assert [name for name in MEMBERS if not callable(getattr(source, name, None))] == []
    assert source.__name__ in module.__all__


def test_every_source_runs_the_contract_over_recorded_payloads(package: Path) -> None:
    folder = Path(__file__).parent / package.name
    assert "class TestContract(SourceContract)" in (folder / "test_contract.py").read_text()
    assert len(load(folder / "fixtures")) >= 20


def test_pure_parts_do_not_await(package: Path) -> None:
    for part in PARTS[:-1]:
        text = (package / f"{part}.py").read_text()
        assert "async def" not in text, part
        assert "await " not in text, part
