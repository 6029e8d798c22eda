"""What a test does on a machine without the software it needs: skip and say what to install; in CI, fail."""

import os
import shutil


class Missing(Exception):
    """Software or artefacts are not here. The message says what to install."""


def program(name: str, package: str) -> str:
    """Where a program is. Raises `Missing`."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed; on Debian and Ubuntu: apt-get install {package}")
    return found


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1", "yes"}
