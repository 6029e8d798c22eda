"""The console as a process of its own on this terminal: drawing takes milliseconds that would delay messages."""

import os
import sys

import anyio
from anyio.abc import Process

from airy.secret import Secret

END_S = 5.0  # for the console to restore the terminal


async def show_console(url: str, token: Secret | None, *, writes: bool) -> None:
    """Returns when the user has left it; cancelled, it ends the console."""
    command = [sys.executable, "-m", "airy", "console", "--url", url, *(["--write"] if writes else [])]
    environment = os.environ | ({"AIRY_TOKEN": token.reveal()} if token else {})
    async with await anyio.open_process(command, stdin=None, stdout=None, stderr=None, env=environment) as process:
        try:
            await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(END_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
