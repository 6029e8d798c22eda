"""A webhook of Meta becomes facts. Pure: the same bytes always make the same facts.

This page opens the envelope: entries, their elements, and what happens to unusable parts. What one
element means is in element.py. An element that cannot be read is named in `rest` and never takes its
neighbours with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Raw

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.sources import payload
from airy.sources.api import Routed
from airy.sources.facebook.element import Element, facts_of
from airy.sources.payload import Payload

ELEMENT_LEVEL = 5  # {"entry": [{"messaging": [ {…}
LISTS = ("messaging", "standby", "changes")
OBJECTS = frozenset({"page", "instagram"})  # the second is parked for a source that understands it


class _Entry(NamedTuple):
    where: str  # "entry[0]"
    page_id: str
    time: object
    elements: list[tuple[str, int, Raw]]  # list, index in it, element


def route(record: Record, channels: Mapping[str, Channel]) -> Routed:
    """Raises `Undecodable` when there is nothing to hold on to."""
    content = payload.read(record.value or b"", element_level=ELEMENT_LEVEL)
    envelope = payload.members(content.body)
    rest: list[str] = []
    facts: list[Fact] = []
    unknown: dict[str, None] = {}
    kind = payload.value(envelope.get("object", Raw(b"null")))
    if kind not in OBJECTS:
        return Routed([], [], [f"object: {kind!r:.64} is not a page; subscribe the app to pages only"])
    for entry in _entries(envelope, rest):
        channel = channels.get(entry.page_id) if kind == "page" else None
        if channel is not None:
            facts += _facts(record, content, channel, entry, rest)
        elif entry.elements:
            unknown[entry.page_id] = None
    return Routed(facts, list(unknown), rest)


def _entries(envelope: Mapping[str, Raw], rest: list[str]) -> list[_Entry]:
    found: list[_Entry] = []
    try:
        entries = payload.items(envelope.get("entry", Raw(b"null")))
    except Undecodable as error:
        rest.append(f"entry: {error}")
        return found
    for index, part in enumerate(entries):
        where = f"entry[{index}]"
        try:
            found.append(_entry(where, part, rest))
        except Undecodable as error:
            rest.append(f"{where}: {error}")
    return found


def _entry(where: str, part: Raw, rest: list[str]) -> _Entry:
    parts = payload.members(part)
    page_id = payload.identifier(payload.value(parts["id"])) if "id" in parts else None
    if page_id is None:
        raise Undecodable("names no page in id")
    elements: list[tuple[str, int, Raw]] = []
    for name in LISTS:
        if name not in parts:
            continue
        try:
            elements += ((name, index, element) for index, element in enumerate(payload.items(parts[name])))
        except Undecodable as error:
            rest.append(f"{where}.{name}: {error}")
    if not any(name in parts for name in LISTS):
        raise Undecodable(f"has none of {', '.join(LISTS)}")
    time = payload.value(parts["time"]) if "time" in parts else None
    return _Entry(where, page_id, time, elements)


def _facts(record: Record, content: Payload, channel: Channel, entry: _Entry, rest: list[str]) -> list[Fact]:
    facts: list[Fact] = []
    cause = record.header("request-id") or f"{record.topic}[{record.partition}]@{record.offset}"
    for name, index, raw in entry.elements:
        try:
            fields = payload.value(raw)
            if not isinstance(fields, dict):
                payload.members(raw)  # raises, saying what it is instead
            fields = payload.record(fields)
            facts += facts_of(
                Element(
                    raw=raw,
                    fields=fields,
                    channel=channel,
                    page_id=entry.page_id,
                    standby=name == "standby",
                    at_ms=payload.time_ms(fields.get("timestamp"), entry.time) or record.timestamp_ms,
                    cause=cause,
                    repaired=content.repaired(raw),
                )
            )
        except Undecodable as error:
            rest.append(f"{entry.where}.{name}[{index}]: {error}")
    return facts
