"""A webhook of Meta becomes facts. Pure: the same bytes always make the same facts.

This module opens the envelope: its object says which kind of channel all its entries belong to, each entry names an
account and lists elements. What one element means is in element.py. An element that cannot be read is named in
`unreadable` and never takes its neighbours with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.sources import payload
from airy.sources.api import AccountKey, Channels, Routed, Uneventful
from airy.sources.fact_origin import cause_of
from airy.sources.meta.element import Element, facts_of, kinds_of
from airy.sources.payload import Payload
from airy.sources.provider_time import event_time

ELEMENT_LEVEL = 5  # {"entry": [{"messaging": [ {…}
LISTS = ("messaging", "standby", "changes")
SAMPLE_ACCOUNT = "0"  # of the events that the "Test" button of an app's page sends
SAMPLE_SENDER = "12334"
SAMPLE = "a sample of the Test button"
KINDS = {"page": "facebook", "instagram": "instagram"}  # a body's object, and the kind of its accounts


class _Reading(NamedTuple):
    """What was found so far."""

    facts: list[Fact]
    unreadable: list[str]
    noted: list[str]


class _Entry(NamedTuple):
    place: str  # "entry[0]"
    account: str
    time: object
    elements: list[tuple[str, Raw]]  # place in the entry, element


def route(record: Record, channels: Channels, kind: str) -> Routed:
    """The facts of channels of `kind`; accounts of the other kind are reported as unknown, under that kind.

    Raises `Undecodable` for a body that is no envelope.
    """
    content = payload.read(record.value or b"", element_level=ELEMENT_LEVEL)
    envelope = payload.members(content.body)
    reading = _Reading([], [], [])
    unknown: dict[AccountKey, None] = {}
    name = payload.value(envelope.get("object", Raw(b"null")))
    found = KINDS.get(name) if isinstance(name, str) else None
    if found is None:
        if _is_sample(envelope):
            return Routed([], [], [], [SAMPLE])
        known = " or ".join(KINDS)
        return Routed([], [], [f"object: {name!r:.64} is not {known}; subscribe the app to these objects only"])
    for entry in _entries(envelope, reading.unreadable):
        channel = channels.by_account(kind, entry.account) if found == kind else None
        if entry.account == SAMPLE_ACCOUNT:
            reading.noted.append(f"{entry.place}: {SAMPLE}")
        elif channel is not None:
            _read_elements(record, content, channel, entry, reading)
        elif entry.elements:
            unknown[AccountKey(found, entry.account)] = None
    return Routed(reading.facts, list(unknown), reading.unreadable, reading.noted)


def _is_sample(envelope: Mapping[str, Raw]) -> bool:
    """Whether a body without an object is a change alone, from the contact of all samples."""
    parts = payload.record(payload.value(envelope.get("sample", Raw(msgspec.json.encode(envelope)))))
    sender = payload.record(payload.record(parts.get("value")).get("sender"))
    return payload.identifier(sender.get("id")) == SAMPLE_SENDER


def _entries(envelope: Mapping[str, Raw], unreadable: list[str]) -> list[_Entry]:
    found: list[_Entry] = []
    try:
        entries = payload.items(envelope.get("entry", Raw(b"null")))
    except Undecodable as error:
        unreadable.append(f"entry: {error}")
        return found
    for index, part in enumerate(entries):
        place = f"entry[{index}]"
        try:
            found.append(_entry(place, part, unreadable))
        except Undecodable as error:
            unreadable.append(f"{place}: {error}")
    return found


def _entry(place: str, part: Raw, unreadable: list[str]) -> _Entry:
    parts = payload.members(part)
    account = payload.identifier(payload.value(parts["id"])) if "id" in parts else None
    if account is None:
        raise Undecodable("names no account in id")
    elements: list[tuple[str, Raw]] = []
    for name in LISTS:
        if name not in parts:
            continue
        try:
            elements += ((f"{name}[{index}]", element) for index, element in enumerate(payload.items(parts[name])))
        except Undecodable as error:
            unreadable.append(f"{place}.{name}: {error}")
    if not any(name in parts for name in LISTS):
        if "field" not in parts or "value" not in parts:
            if parts.keys() <= {"id", "time"}:
                return _Entry(place, account, None, [])
            raise Undecodable(f"has none of {', '.join(LISTS)}")
        elements.append(("value", part))  # Instagram Login writes its changes flat
    time = payload.value(parts["time"]) if "time" in parts else None
    return _Entry(place, account, time, elements)


def _read_elements(record: Record, content: Payload, channel: Channel, entry: _Entry, reading: _Reading) -> None:
    for place, raw in entry.elements:
        try:
            element = _element(record, content, channel, entry, _unwrapped(raw), standby=place.startswith("standby"))
        except Undecodable as error:
            reading.unreadable.append(f"{entry.place}.{place}: {error}")
            continue
        for kind in kinds_of(element):
            try:
                reading.facts.extend(facts_of(element, kind))
            except Uneventful as reason:
                reading.noted.append(f"{entry.place}.{place}: {kind} {reason}")
            except Undecodable as error:
                reading.unreadable.append(f"{entry.place}.{place}: {error}")


def _element(record: Record, content: Payload, channel: Channel, entry: _Entry, raw: Raw, *, standby: bool) -> Element:
    fields = payload.record(payload.value(raw))
    return Element(
        raw=raw,
        fields=fields,
        channel=channel,
        account=entry.account,
        standby=standby,
        time=event_time(record.timestamp_ms, fields.get("timestamp"), entry.time),
        arrived_at_ms=record.timestamp_ms,
        cause=cause_of(record),
        repaired=content.repaired(raw),
    )


def _unwrapped(raw: Raw) -> Raw:
    """The element in a change: Instagram Login may write messages as changes. Raises `Undecodable`."""
    members = payload.members(raw)
    if "field" not in members or "value" not in members:
        return raw
    value = payload.record(payload.value(members["value"]))
    return members["value"] if "sender" in value and "recipient" in value else raw
