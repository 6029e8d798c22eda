"""Addresses in the content of a message that are replaced when it is read, because the file was stored here.

As in the original: the metadata key `data_<address>` has the address of the stored file. A provider that names files by
an id has the key `data_<id>`: ids are not searched for in texts, they give the canonical content with this `media_id`
its `url`. Such keys are no part of the metadata document that clients see.
"""

import re

import msgspec
from msgspec import Raw

from airy.model import metadata
from airy.model.metadata import Flat

_parts = msgspec.json.Decoder(list[dict[str, object]])

_END = rb"(?![A-Za-z0-9/?#&=%_~+-]|\.[A-Za-z0-9])"  # or it is the beginning of another address

PREFIX = "data_"
SCHEME = "://"  # what tells an address from an id


def shown(flat: Flat) -> Flat:
    """Metadata without the addresses of stored files."""
    if not any(key.startswith(PREFIX) for key in flat):
        return flat
    return {key: raw for key, raw in flat.items() if not key.startswith(PREFIX)}


def replaced(content: Raw, flat: Flat) -> Raw:
    """`content` with each address that was stored replaced, wherever it is in a text; the longest address first."""
    stored = {_inner(name): _inner(url) for name, url in _stored(flat).items() if SCHEME in name}
    if not stored:
        return content
    try:
        text = msgspec.json.encode(msgspec.json.decode(content))  # addresses have one spelling then: no `\\/`
    except msgspec.DecodeError:
        text = bytes(content)
    found = b"|".join(re.escape(each) for each in sorted(stored, key=len, reverse=True))
    addresses = re.compile(b"(?:%b)%b" % (found, _END))
    return Raw(addresses.sub(lambda found: stored[found[0]], text))


def located(canonical: Raw, flat: Flat) -> Raw:
    """Canonical contents with every stored address replaced, and with the `url` of each stored media id."""
    contents = replaced(canonical, flat)
    by_id = {name: url for name, url in _stored(flat).items() if SCHEME not in name}
    if not by_id:
        return contents
    try:
        parts = _parts.decode(contents)
    except msgspec.MsgspecError:  # written by a client in another shape
        return contents
    for part in parts:
        if part.get("type") == "media" and part.get("media_id") in by_id:
            part["url"] = by_id[str(part["media_id"])]
    return Raw(msgspec.json.encode(parts))


def _stored(flat: Flat) -> dict[str, str]:
    """Addresses of stored files by the address or id at the provider."""
    return {
        key.removeprefix(PREFIX): metadata.text(flat, key) or ""
        for key in flat
        if key.startswith(PREFIX) and len(key) > len(PREFIX)
    }


def _inner(text: str) -> bytes:
    """As it is within a JSON text."""
    return msgspec.json.encode(text)[1:-1]
