"""A source that the catalogue alone knows works through all layers, and is in every derived output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.paper_source.wire import BOARD_KEY, SIGNING_KEY

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def run(*arguments: str, cwd: Path = ROOT) -> str:
    program = [sys.executable, "-m", "tests.kit.paper_source.run", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BOARD_KEY": SIGNING_KEY}
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def configured(directory: Path) -> Path:
    path = directory / "airy.yaml"
    path.write_text("components:\n  sources:\n    paper:\n      signingKey: env:BOARD_KEY\n")
    return path


def test_it_is_connected_answered_and_receipted_over_http() -> None:
    journey = json.loads(run("journey").splitlines()[-1])
    assert journey["channel"]["source"] == "paper"
    assert journey["received"]["canonical"] == [{"type": "text", "text": "Is the rye bread back?"}]
    assert journey["taken"] == [{"recipient": "ines", "text": "Yes, three left.", "our_id": None}]
    assert journey["sent"]["metadata"]["source"]["delivery_state"] == "read"
    assert set(journey["statuses"]) == {200}
    assert [secret for secret in (SIGNING_KEY, BOARD_KEY) if secret in journey["outputs"]] == []


def test_its_configuration_is_read_and_its_secret_is_masked(tmp_path: Path) -> None:
    shown = run("config", "show", "--config", str(configured(tmp_path)))
    assert "paper" in shown
    assert "signingKey" in shown
    assert SIGNING_KEY not in shown


def test_it_has_its_block_in_the_reference() -> None:
    page = run("sources", "info", "paper")
    for word in ("/paper/{board}", "signingKey", "source.paper.events", "paper"):
        assert word in page


def test_it_has_topics_and_access_lists() -> None:
    topics = run("topics", "list")
    assert all(name in topics for name in ("source.paper.events", "parked.source.paper.events"))
    access = run("topics", "acls")
    assert "airy-sources-paper" in access
