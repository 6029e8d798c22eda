"""Addresses in the content of a message that are replaced when it is read, because the file was stored here.

As in the original: the metadata key `data_<address>` has the address of the stored file. Such keys are no part of the
metadata document that clients see.
"""

import re

import msgspec
from msgspec import Raw

from airy.model import metadata
from airy.model.metadata import Flat

PREFIX = "data_"


def shown(flat: Flat) -> Flat:
    """Metadata without the addresses of stored files."""
    if not any(key.startswith(PREFIX) for key in flat):
        return flat
    return {key: raw for key, raw in flat.items() if not key.startswith(PREFIX)}


def replaced(content: Raw, flat: Flat) -> Raw:
    """`content` with each address that was stored replaced, wherever it is in a text; the longest address first."""
    stored = {
        _inner(key.removeprefix(PREFIX)): _inner(metadata.text(flat, key) or "")
        for key in flat
        if key.startswith(PREFIX) and len(key) > len(PREFIX)
    }
    if not stored:
        return content
    try:
        text = msgspec.json.encode(msgspec.json.decode(content))  # addresses have one spelling then: no `\\/`
    except msgspec.DecodeError:
        text = bytes(content)
    addresses = re.compile(b"|".join(re.escape(each) for each in sorted(stored, key=len, reverse=True)))
    return Raw(addresses.sub(lambda found: stored[found[0]], text))


def _inner(text: str) -> bytes:
    """As it is within a JSON text."""
    return msgspec.json.encode(text)[1:-1]
