"""The limits of a record, alike on every backend: key and value together, and the headers besides.

A copy of a record at its limit (a parked or dead-lettered one) has more headers and fits as well.
"""

from typing import Final

from airy.bus.api import RecordTooLarge
from airy.bus.record import ProducerRecord

HEADERS_BYTES_MAX: Final = 61_440  # with the batch's own overhead below what `max.message.bytes` of a topic adds


def check_size(record: ProducerRecord, record_bytes_max: int) -> None:
    """Raises `RecordTooLarge`."""
    body = len(record.key) + len(record.value or b"")
    if body > record_bytes_max:
        text = f"a record for {record.topic} has {body} bytes"
        raise RecordTooLarge(f"{text}: at most {record_bytes_max} fit, send less", field="value")
    headers = sum(len(name) + len(value) for name, value in record.headers)
    if headers > HEADERS_BYTES_MAX:
        text = f"a record for {record.topic} has {headers} bytes of headers"
        raise RecordTooLarge(f"{text}: at most {HEADERS_BYTES_MAX} fit, send fewer", field="headers")
