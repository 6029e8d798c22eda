"""The import contracts of pyproject.toml hold: what runs may know what is, never the reverse."""

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_the_import_contracts_hold(capsys: object) -> None:
    assert lint_imports(config_filename="pyproject.toml") == EXIT_STATUS_SUCCESS
