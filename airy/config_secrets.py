"""Finds the secrets of a configuration by their type, to mask them in logs and in `airy config show`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from airy.secret import MASK, Secret

_URL_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/@:]*:([^\s/@]+)@", re.IGNORECASE)


def secret_values(config: Struct) -> list[str]:
    """Every secret in clear text, and the passwords within secrets that are URLs, as written and percent-decoded."""
    return [text for secret in _secrets(config) for text in _spellings(secret.reveal())]


def masked(value: Any) -> Any:
    """A configuration as plain values with the keys of airy.yaml; secrets are masked."""
    match value:
        case Secret():
            return MASK if value else ""
        case Struct():
            return {
                field.encode_name: masked(getattr(value, field.name)) for field in msgspec.structs.fields(type(value))
            }
        case Mapping():
            return {str(key): masked(item) for key, item in value.items()}
        case tuple() | list() | set() | frozenset():
            return [masked(item) for item in value]
    return value


def _secrets(value: object) -> Iterator[Secret]:
    match value:
        case Secret():
            if value:
                yield value
        case Struct():
            for name in value.__struct_fields__:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from _secrets(item)
        case tuple() | list() | set() | frozenset():
            for item in value:
                yield from _secrets(item)


def _spellings(text: str) -> list[str]:
    found = _URL_PASSWORD.match(text)
    return [text, found[1], unquote(found[1])] if found else [text]
