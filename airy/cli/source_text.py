"""Formats the output of `airy sources …` from the catalogue. Pure."""

from typing import Any

from airy import components, topics
from airy.config_reader import closest
from airy.config_reference import section_block
from airy.errors import Refused
from airy.sources.catalogue import BY_NAME, SOURCES
from airy.sources.spec import Kind, SourceSpec


def rows() -> list[dict[str, Any]]:
    return [_row(spec) for spec in SOURCES]


def _row(spec: SourceSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "component": components.source_component(spec).id,
        "kinds": [kind.name for kind in spec.kinds],
        "webhooks": list(spec.webhooks),
        "needs_public_url": spec.public_url,
    }


def find(name: str) -> SourceSpec:
    """Raises `Refused` for an unknown name."""
    if name not in BY_NAME:
        raise Refused(f"no source is called {name}{closest(name, list(BY_NAME))}")
    return BY_NAME[name]


def details(spec: SourceSpec) -> dict[str, Any]:
    component = components.source_component(spec)
    return _row(spec) | {
        "configuration": component.path,
        "required": list(components.required_keys(component.id)),
        "topics": [topics.source_events(spec.name).name, topics.parked_events(spec.name).name] if spec.webhooks else [],
        "groups": [group.name for group in component.groups],
        "kinds": [_kind(kind) for kind in spec.kinds],
    }


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "title": kind.title,
        "account": kind.account,
        "connect": f"/channels.{kind.name}.connect" if kind.connect else None,
        "credentials": list(kind.credentials),
        "receives": list(kind.capabilities.receives),
        "sends": list(kind.capabilities.sends),
        "updates": list(kind.capabilities.updates),
        "receipts": list(kind.capabilities.receipts),
        "profile": kind.capabilities.profile,
        "media": kind.capabilities.media,
    }


def page(spec: SourceSpec) -> str:
    known = details(spec)
    lines = [f"{spec.title} ({known['component']})", "", f"webhooks  {', '.join(spec.webhooks) or 'none'}"]
    if spec.public_url:
        lines.append("          needs http.publicUrl")
    lines += [f"topics    {', '.join(known['topics']) or 'none'}", f"groups    {', '.join(known['groups'])}", ""]
    for kind in known["kinds"]:
        receipts = ", ".join(kind["receipts"]) or "none"
        connected = f", connected with {kind['connect']}" if kind["connect"] else ""
        lines += [f"{kind['name']}: {kind['title']} ({kind['account']}){connected}"]
        lines += [f"  {name}: {', '.join(kind[name]) or 'none'}" for name in ("receives", "updates", "sends")]
        lines += [f"  receipts: {receipts}; profile: {kind['profile']}; media: {kind['media']}"]
    block = section_block(components.source_component(spec), indent=4)
    return "\n".join([*lines, "", "components:", "  sources:", *block])
