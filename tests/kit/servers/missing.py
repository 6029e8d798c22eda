"""Skips tests whose software is missing, with what to install; fails them in CI."""

import os
import shutil


class Missing(Exception):
    """Software or artefacts are missing. The message says what to install."""


def program(name: str, package: str) -> str:
    """The path of a program. Raises `Missing`."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed; on Debian and Ubuntu: apt-get install {package}")
    return found


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1", "yes"}
