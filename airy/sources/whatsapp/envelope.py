"""Opens the body of a webhook: entries of WhatsApp Business accounts, each with changes, each with a field and a value.

A change names the number it is about in `metadata`, or, in an older nesting, in `whatsapp_business_api_data`. One that
cannot be read never takes its neighbours with it.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec import Raw

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.sources import payload
from airy.sources.payload import Payload

OBJECT = "whatsapp_business_account"
ELEMENT_LEVEL = 8  # {"entry": [{"changes": [{"value": {"messages": [ {…}
SAMPLE_ENTRY = "0"  # of the events that the "Test" button of an app's webhook settings sends
SAMPLE = "a sample of the Test button"
NOTHING = Raw(b"null")


class WebhookChange(NamedTuple):
    """One change of an entry."""

    place: str  # "entry[0].changes[0]"
    field: str
    raw: Raw  # of the value
    value: Mapping[str, Raw]
    phone_number_id: str | None  # None: it concerns the whole business account

    def items(self, name: str) -> list[Raw]:
        """The elements of a list of the value; none if it is missing. Raises `Undecodable`."""
        part = self.value.get(name, NOTHING)
        return [] if bytes(part) == b"null" else payload.items(part)


class OpenedWebhook(NamedTuple):
    """A body, with what could not be read of it."""

    content: Payload
    changes: list[WebhookChange]
    unreadable: list[str]
    noted: list[str]


def opened(record: Record) -> OpenedWebhook:
    """Raises `Undecodable` for a body that is no envelope."""
    content = payload.read(record.value or b"", element_level=ELEMENT_LEVEL)
    envelope = payload.members(content.body)
    found = OpenedWebhook(content, [], [], [])
    name = payload.value(envelope.get("object", NOTHING))
    if name != OBJECT:
        found.unreadable.append(f"object: {name!r:.64} is not {OBJECT}; subscribe the app to this object only")
        return found
    try:
        entries = payload.items(envelope.get("entry", NOTHING))
    except Undecodable as error:
        found.unreadable.append(f"entry: {error}")
        return found
    for index, entry in enumerate(entries):
        _read_entry(f"entry[{index}]", entry, found)
    return found


def _read_entry(place: str, entry: Raw, found: OpenedWebhook) -> None:
    try:
        parts = payload.members(entry)
        if payload.identifier(payload.value(parts.get("id", NOTHING))) == SAMPLE_ENTRY:
            found.noted.append(f"{place}: {SAMPLE}")
            return
        changes = payload.items(parts.get("changes", Raw(b"[]")))
    except Undecodable as error:
        found.unreadable.append(f"{place}: {error}")
        return
    for index, change in enumerate(changes):
        where = f"{place}.changes[{index}]"
        try:
            found.changes.append(_change(where, change))
        except Undecodable as error:
            found.unreadable.append(f"{where}: {error}")


def _change(place: str, part: Raw) -> WebhookChange:
    parts = payload.members(part)
    field = payload.text(payload.value(parts.get("field", NOTHING))) or "unknown"
    raw = parts.get("value", Raw(b"{}"))
    value = payload.members(raw)
    if "whatsapp_business_api_data" in value:
        value = payload.members(value["whatsapp_business_api_data"]) | value
    about = payload.record(payload.value(value["metadata"])) if "metadata" in value else {}
    number = payload.identifier(about.get("phone_number_id"))
    if number is None and "phone_number_id" in value:
        number = payload.identifier(payload.value(value["phone_number_id"]))
    return WebhookChange(place, field, raw, value, number)


def records(parts: list[Raw]) -> Iterator[Mapping[str, object]]:
    """Those of the elements that are objects and can be read."""
    for part in parts:
        try:
            node = payload.value(part)
        except Undecodable:
            continue
        if isinstance(node, dict):
            yield node
