"""Which process listens at a port, by `/proc`; elsewhere it is unknown."""

import os
import socket
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"  # state of a socket in /proc/net/tcp
COMMAND_CHARS_MAX = 60


def try_listen(host: str, port: int) -> int:
    """The errno of a listener there, which is closed at once; 0: it would work."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.errno or -1
    return 0


def holder_of(port: int) -> str:
    """The id of a process that listens at this port; empty if it is not visible to this user."""
    inodes = {inode for name in ("tcp", "tcp6") for inode in _listening(PROC / "net" / name, port)}
    for process in PROC.glob("[0-9]*") if inodes else ():
        try:
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor).removeprefix("socket:[").rstrip("]") in inodes:  # noqa: PTH115 - no path
                    return process.name
        except OSError:
            continue  # of another user, or ended
    return ""


def _listening(table: Path, port: int) -> list[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [each[9] for each in fields if each[3] == LISTEN and int(each[1].rpartition(":")[2], 16) == port]


def command_of(process: str) -> str:
    """The command line of a process, shortened; empty if it is not visible."""
    try:
        words = (PROC / process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return " ".join(" ".join(words).split())[:COMMAND_CHARS_MAX]
