"""The header of a record that was made from another one: where that one is."""

from airy.bus.record import Headers, Position, Record

HEADER = "origin"
"""Its value: topic, partition and offset, joined by slashes."""


def origin_header(record: Record) -> tuple[str, bytes]:
    """Names `record`, or the record that it is itself a copy of."""
    for name, value in record.headers:
        if name == HEADER:
            return name, value
    return HEADER, f"{record.topic}/{record.partition}/{record.offset}".encode()


def origin_in(headers: Headers) -> Position | None:
    """None without the header, or if it does not name a position."""
    for name, value in headers:
        if name == HEADER:
            topic, *numbers = value.decode("utf-8", "replace").split("/")
            if len(numbers) == 2 and all(each.isascii() and each.isdigit() for each in numbers):
                return Position(topic, int(numbers[0]), int(numbers[1]))
    return None
