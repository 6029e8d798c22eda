"""The import contracts of pyproject.toml hold, and docs/architecture.md shows their layers."""

import tomllib
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_hold(capsys: object) -> None:
    assert lint_imports(config_filename="pyproject.toml") == EXIT_STATUS_SUCCESS


def test_the_architecture_page_shows_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["airy"])
    shown = " → ".join(layer for layer in layers if layer != "__main__")

    assert f"`{shown}`" in (ROOT / "docs/architecture.md").read_text(), shown
