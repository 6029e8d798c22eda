"""Shell completion: the script of bash is sourced by bash; pipes whose reader leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASKED = """
eval "$(airy completion bash)"
COMP_WORDS=({words} "") COMP_CWORD={count}
COMP_WORDS[COMP_CWORD]={beginning}
_airy_completion airy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`airy` of this checkout."""
    program = tmp_path / "airy"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m airy "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def run(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("words", "beginning", "expected"),
    [
        ("airy", "conv", ["conversations"]),
        ("airy sources info", "tel", ["telegram"]),
        ("airy run", "webhook-", ["webhook-publisher", "webhook-consumer"]),
    ],
)
def test_bash_completes_commands_and_names(words: str, beginning: str, expected: list[str]) -> None:
    done = run(ASKED.format(words=words, count=len(words.split()), beginning=beginning))

    assert done.stderr == ""
    assert done.stdout.split() == expected


def test_a_reader_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "airy", "sources", "list", "-o", "ndjson"]

    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")
