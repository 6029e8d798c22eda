"""The make targets exist, are explained, and install dependencies once."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def test_every_public_target_is_explained() -> None:
    explained = {line.split()[1] for line in make("help").splitlines()}

    public = {"run", "cluster", "test", "check", "bench", "kill", "sim", "faults", "kafka", "clean", "lock"}
    assert public <= explained


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout whose programs only record their arguments."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock", "requirements-build.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    binaries = tmp_path / ".venv/bin"
    binaries.mkdir(parents=True)
    for name in ("python", "airy", "ruff", "mypy", "lint-imports"):
        script = binaries / name
        script.write_text(f'#!/bin/sh\necho {name} "$@" >> "$(dirname "$0")/../../calls"\n')
        script.chmod(0o755)
    return tmp_path


def calls(clone: Path) -> list[str]:
    path = clone / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_run_installs_with_hashes_once_and_starts_the_demonstration(clone: Path) -> None:
    make("run", cwd=clone)

    installed, linked, started = calls(clone)
    assert "--require-hashes" in installed
    assert "-r requirements.lock" in installed
    assert "--no-deps" in linked
    assert started == "airy up --demo"
    make("run", cwd=clone)
    assert calls(clone) == ["airy up --demo"]


def test_test_runs_every_checker(clone: Path) -> None:
    make("test", cwd=clone)
    calls(clone)
    make("test", cwd=clone)

    assert [re.sub(r" .*", "", line) for line in calls(clone)] == ["ruff", "ruff", "mypy", "lint-imports", "python"]


def test_a_changed_lock_is_installed_again(clone: Path) -> None:
    make("run", cwd=clone)
    calls(clone)
    stamp = (clone / ".venv/.run").stat().st_mtime
    import os

    os.utime(clone / "requirements.lock", (stamp + 10, stamp + 10))
    make("run", cwd=clone)

    assert len(calls(clone)) == 3
