"""Every source of Airy: the one list that topics, components, configuration, routes and documentation derive from.

Data only: importing it loads neither an HTTP client nor an implementation of a source.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import NamedTuple

from airy.sources.spec import Kind, SourceSpec

NAMES = (
    "facebook",
    "instagram",
    "whatsapp",
    "twilio",
    "telegram",
    "viber",
    "google",
    "rcs",
    "chatplugin",
    "custom",
)

SOURCES: tuple[SourceSpec, ...] = tuple(import_module(f"airy.sources.{name}.spec").SPEC for name in NAMES)

BY_NAME: Mapping[str, SourceSpec] = {spec.name: spec for spec in SOURCES}
BY_KIND: Mapping[str, SourceSpec] = {kind.name: spec for spec in SOURCES for kind in spec.kinds}
KINDS: Mapping[str, Kind] = {kind.name: kind for spec in SOURCES for kind in spec.kinds}


def kind_of(source: str) -> Kind:
    """The kind of channels whose `Channel.source` is this: one of the catalogue, or else the open one."""
    return KINDS.get(source) or next(kind for kind in KINDS.values() if kind.open)


def kind_name(source: str) -> str:
    """As the store divides its work; "" for messages without a channel."""
    return kind_of(source).name if source else ""


def spec_of(source: str) -> SourceSpec:
    """The specification behind `Channel.source`."""
    return BY_KIND[kind_of(source).name]


class WebhookPath(NamedTuple):
    spec: SourceSpec
    parameters: dict[str, str]  # of the path, by name


def find_webhook(path: str, specs: Iterable[SourceSpec] = SOURCES) -> WebhookPath | None:
    """The source whose webhook `path` is; None if no source has it."""
    for spec in specs:
        for template in spec.webhooks:
            parameters = match(template, path)
            if parameters is not None:
                return WebhookPath(spec, parameters)
    return None


def match(template: str, path: str) -> dict[str, str] | None:
    """The parameters of `path` if it fits `template`; a parameter is one segment and never empty."""
    if "{" not in template:
        return {} if path == template else None
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    parameters: dict[str, str] = {}
    for part, segment in zip(wanted, given, strict=True):
        if part[:1] == "{":
            if not segment:
                return None
            parameters[part[1:-1]] = segment
        elif part != segment:
            return None
    return parameters
