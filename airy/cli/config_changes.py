"""Changes of the configuration as arguments: `SECTION.KEY=VALUE`, `--enable`, `--disable`. Pure, but for `@FILE`."""

from collections.abc import Iterable
from typing import Any

import rich_click as click

from airy.cli.entered import assignments

PREFIX = "components."


def changes(given: Iterable[str], enabled: Iterable[str], disabled: Iterable[str]) -> list[dict[str, Any]]:
    """The `components` of a request, one for each section. An empty value is the default."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in assignments("a change", given).items():
        name, key = _split(path)
        found.setdefault(name, {"name": name, "data": {}})["data"][key] = value or None
    for names, switch in ((enabled, True), (disabled, False)):
        for name in names:
            found.setdefault(name, {"name": name, "data": {}})["enabled"] = switch
    if both := {*enabled} & {*disabled}:
        raise click.UsageError(f"{', '.join(sorted(both))}: enabled and disabled at once")
    return list(found.values())


def _split(path: str) -> tuple[str, str]:
    """Section and key of `http.port`, `sources-viber.authToken` or `components.sources.viber.authToken`."""
    if path.startswith(PREFIX) and path.count(".") >= 3:
        _, kind, name, key = path.split(".", 3)
        return f"{kind}-{name}", key
    name, dot, key = path.partition(".")
    if not dot or not key:
        raise click.UsageError(f"{path}: expected SECTION.KEY=VALUE, for example http.port=8081")
    return name, key
