"""The command line against a fake instance: what it prints, its exit code, golden files, published schemas."""

import io
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from jsonschema import Draft202012Validator
from msgspec import Struct

from airy import log, process
from airy.cli import main
from airy.http_client import HttpClient
from tests.kit.fake_instance import FakeInstance

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"
GOLDEN = Path(__file__).parents[1] / "cli/golden"
REWRITE = "AIRY_REWRITE_GOLDEN"  # set it to write the golden files anew
URL = "http://airy.example.net"


class Printed(Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Call it with arguments, as a shell would; `instance` answers what the command asks."""

    def __init__(self, instance: FakeInstance, capture: pytest.CaptureFixture[str]) -> None:
        self.instance = instance
        self._capture = capture

    def __call__(self, *arguments: str) -> Printed:
        self._capture.readouterr()
        code = main(list(arguments), open_http=self._open_http)
        printed = self._capture.readouterr()
        return Printed(code, printed.out, printed.err)

    def json(self, view: str, *arguments: str) -> Any:
        """What the command prints with `--json`, checked against the published schema of the view."""
        printed = self(*arguments, "--json")
        assert printed.code == 0, printed.err
        return self.valid(view, printed.json)

    def valid(self, view: str, document: Any) -> Any:
        """`document`, which matches the published schema of the view."""
        validate(view, document)
        return document

    @asynccontextmanager
    async def _open_http(self) -> AsyncIterator[HttpClient]:
        yield self.instance


def validate(view: str, document: Any) -> None:
    """Raises `ValidationError` if `document` is not what the published schema of the view says."""
    Draft202012Validator(json.loads((SCHEMAS / f"{view}.json").read_text())).validate(document)


@contextmanager
def command_line(
    capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, directory: Path
) -> Iterator[CommandLine]:
    """In a directory of its own, with no settings from the environment, 100 columns wide."""
    for name in [name for name in os.environ if name.startswith("AIRY_")]:
        patch.delenv(name)
    patch.setenv("COLUMNS", "100")
    patch.setenv("AIRY_URL", URL)
    patch.setenv("TZ", "UTC")
    patch.chdir(directory)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    patch.setattr(process, "configure_log", lambda config, file=None: log.configure(stream=io.StringIO()))
    yield CommandLine(FakeInstance(), capture)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def matches_golden(name: str, text: str) -> bool:
    """Whether `text` is what the golden file holds, which it becomes if `AIRY_REWRITE_GOLDEN` is set."""
    path = GOLDEN / f"{name}.txt"
    lines = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if REWRITING:
        path.write_text(lines)
    return path.exists() and path.read_text() == lines


REWRITING = bool(os.environ.get(REWRITE))
