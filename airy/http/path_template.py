"""Paths with parameters: `/media/{id}`."""

import re

from msgspec import Struct

_PARAMETER = re.compile(r"\{(\w+)\}")


class NoPath(Struct, frozen=True):
    """The path parameters of a route without any."""


def parameters(template: str) -> list[str]:
    return _PARAMETER.findall(template)


def pattern(template: str) -> re.Pattern[str]:
    """Matches the paths of a template, with a group for each parameter, which is one segment of the path."""
    parts = _PARAMETER.split(template)
    return re.compile("".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def litestar_path(template: str) -> str:
    return _PARAMETER.sub(r"{\1:str}", template)
