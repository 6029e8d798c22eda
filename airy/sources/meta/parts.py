"""Splits a batch of Meta that is too large for one record along accounts and elements. Pure.

A full batch has up to 1,000 updates of several pages and megabytes of text. Parts are envelopes of one account each, so
a webhook is parked with the entries of its account only. Elements keep Meta's bytes and, within their account, order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Raw

from airy.errors import Undecodable
from airy.sources import payload
from airy.sources.api import BatchPart
from airy.sources.meta.envelope import ELEMENT_LEVEL, LISTS

PART_BYTES_MAX = 262_144  # of a part with more than one element


def parts_of(body: bytes) -> Sequence[BatchPart]:
    """Empty for a body that fits into one record, and for one that is no envelope: it is stored as it is."""
    if len(body) <= PART_BYTES_MAX:
        return ()
    try:
        return _parts(body)
    except Undecodable:
        pass  # an encoding error in one element must not keep the others from being stored
    try:
        return _parts(payload.read(body, element_level=ELEMENT_LEVEL).body)
    except Undecodable:
        return ()


def _parts(body: bytes) -> list[BatchPart]:
    envelope = payload.members(body)
    entries = payload.items(envelope.pop("entry", Raw(b"null")))
    by_account: dict[str, list[bytes]] = {}
    for entry in entries:
        account, pieces = _pieces(entry)
        by_account.setdefault(account, []).extend(pieces)
    return [
        BatchPart(account, _object(envelope, "entry", chunk))
        for account, pieces in by_account.items()
        for chunk in _chunks(pieces, _overhead(envelope))
    ]


def _pieces(entry: Raw) -> tuple[str, list[bytes]]:
    """The account of an entry, and the entry as one or more entries. One that cannot be read stays as it is."""
    whole = [bytes(entry)]
    try:
        members = payload.members(entry)
        account = payload.identifier(payload.value(members["id"])) if "id" in members else None
    except Undecodable:
        return "", whole
    lists = {name: members.pop(name) for name in LISTS if name in members}
    if len(entry) <= PART_BYTES_MAX or not lists:
        return account or "", whole
    pieces: list[bytes] = []
    for name, raw in lists.items():
        try:
            elements = [bytes(element) for element in payload.items(raw)]
        except Undecodable:
            pieces.append(_object({**members, name: raw}))
            continue
        pieces += (_object(members, name, chunk) for chunk in _chunks(elements, _overhead(members)))
    return account or "", pieces


def _chunks(items: Iterable[bytes], overhead: int) -> Iterator[list[bytes]]:
    """Consecutive items that fit into a part together."""
    chunk: list[bytes] = []
    size = overhead
    for item in items:
        if chunk and size + len(item) > PART_BYTES_MAX:
            yield chunk
            chunk, size = [], overhead
        chunk.append(item)
        size += len(item) + 1
    if chunk:
        yield chunk


def _overhead(members: Mapping[str, Raw]) -> int:
    return len(_object(members, "x" * 16, ()))


def _object(members: Mapping[str, Raw], name: str = "", items: Iterable[bytes] = ()) -> bytes:
    """A JSON object of members, and a list behind them if it has a name."""
    parts = [msgspec.json.encode(key) + b":" + bytes(value) for key, value in members.items()]
    if name:
        parts.append(msgspec.json.encode(name) + b":[" + b",".join(items) + b"]")
    return b"{" + b",".join(parts) + b"}"
