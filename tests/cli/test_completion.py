"""Shell completion in the shells themselves; pipes whose reader leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airy.cli import main
from tests.kit.servers.fixtures import needed
from tests.kit.servers.missing import program

ASKED = {  # the script of the shell, and what the shell does when Tab is pressed; prints the completions
    "bash": """
        source {script}
        COMP_WORDS=({words} {beginning}) COMP_CWORD={count}
        _airy_completion airy
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ }}
        _describe() {{ print -l -- ${{${{(P)3}}%%:*}} }}
        compadd() {{ print -l -- $completions }}
        source {script}
        words=({words} {beginning}) CURRENT=$(({count} + 1))
        _airy_completion
    """,
    "fish": "source {script}; complete --do-complete '{words} {beginning}' | string split --fields 1 \\t",
}


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`airy` of this checkout."""
    program = tmp_path / "airy"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m airy "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("shell", ASKED)
@pytest.mark.parametrize(
    ("words", "beginning", "expected"),
    [
        ("airy", "conv", ["conversations"]),
        ("airy sources info", "tel", ["telegram"]),
        ("airy tags list", "--out", ["--output"]),
        ("airy tags list --output", "y", ["yaml"]),
    ],
)
def test_a_shell_completes_commands_names_options_and_their_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shell: str, words: str, beginning: str, expected: list[str]
) -> None:
    with needed():
        found = program(shell, shell)
    main(["completion", shell])
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    asked = ASKED[shell].format(script=script, words=words, beginning=beginning, count=len(words.split()))
    alone = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]

    done = subprocess.run([found, *alone, "-c", asked], capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr == ""
    assert done.stdout.split() == expected


def test_a_reader_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "airy", "sources", "list", "-o", "ndjson"]

    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")
