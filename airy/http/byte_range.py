"""The `Range` header (RFC 9110, section 14): one range of bytes. A list of ranges is ignored, as the RFC allows."""

import re

SINGLE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class NotSatisfiable(Exception):
    """The range lies behind the end."""


def parse(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None: the whole file. `size` is at least 1.

    Raises `NotSatisfiable`.
    """
    found = SINGLE.fullmatch(header.strip())
    if found is None or found[0].endswith("=-"):
        return None
    first, last = found[1], found[2]
    if not first:
        wanted = min(int(last), size)
        if wanted == 0:
            raise NotSatisfiable
        return size - wanted, size
    start, end = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    if start >= size:
        raise NotSatisfiable
    return start, end
