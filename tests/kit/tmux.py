"""A terminal with a person: keys in, the text on the screen out, through tmux."""

import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

WITHIN_S = 120.0  # generous: a guard against hanging, never a measurement
LOOK_S = 0.1
LOOKS_GONE = 5
_numbers = itertools.count()


class Terminal:
    """`with Terminal("airy up --demo", …) as terminal:` runs the command in a terminal of its own."""

    def __init__(
        self, command: list[str], directory: Path, environment: Mapping[str, str], *, size: str = "110x30"
    ) -> None:
        self._socket = f"airy-{os.getpid()}-{next(_numbers)}"
        columns, _, rows = size.partition("x")
        variables = [f"{name}={value}" for name, value in environment.items()]
        line = f"{shlex.join(command)}; echo exit code $?; sleep {WITHIN_S * 10:.0f}"
        self._start = [
            "new-session",
            "-d",
            "-x",
            columns,
            "-y",
            rows,
            "-c",
            str(directory),
            "env",
            "-uCOLUMNS",
            "-uLINES",  # pytest sets both
            *variables,
            "sh",
            "-c",
            line,
        ]

    def __enter__(self) -> Self:
        self._tmux(*self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def until(self, *parts: str | tuple[str, ...]) -> str:
        """The screen, once all parts (of a tuple: one of them) are on one of its lines. Fails with the screen."""
        wanted = [(part,) if isinstance(part, str) else part for part in parts]
        for _ in range(round(WITHIN_S / LOOK_S)):
            screen = self.screen()
            if any(all(any(word in line for word in words) for words in wanted) for line in screen.splitlines()):
                return screen
            time.sleep(LOOK_S)
        raise AssertionError(f"{parts} did not appear on\n{self.screen()}")

    def until_gone(self, part: str) -> None:
        """Once `part` is on none of several looks: one alone may see a screen that is being drawn."""
        looks = 0
        for _ in range(round(WITHIN_S / LOOK_S)):
            looks = 0 if part in self.screen() else looks + 1
            if looks == LOOKS_GONE:
                return
            time.sleep(LOOK_S)
        raise AssertionError(f"{part} is still on\n{self.screen()}")
