"""The command line against a fake instance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import command_line
from tests.kit.command_line import CommandLine


@pytest.fixture
def airy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CommandLine]:
    with command_line.command_line(capsys, monkeypatch, tmp_path) as line:
        yield line
