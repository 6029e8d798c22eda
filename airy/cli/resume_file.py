"""The position of `airy tail` in a file, replaced as a whole so that a crash leaves the old or the new one."""

import os
from pathlib import Path


def read_position(path: Path) -> str | None:
    """None if the file does not exist yet."""
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_position(path: Path, position: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(f"{position}\n", "utf-8")
    temporary.replace(path)
