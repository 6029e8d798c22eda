"""Names of stored files: the hash of the bytes as the original writes it, and the extension the client gave.

Nothing else of a client's file name is used, so no name leads out of the storage.
"""

import re

EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,16}")
NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.[A-Za-z0-9]{1,16})?")
SEPARATORS = re.compile(r"[/\\]")


def extension(client_name: str) -> str:
    """`.png` of `holiday.png`, with its case; empty if there is none, or one with other characters."""
    base = SEPARATORS.split(client_name)[-1]
    found = base[base.rfind(".") :] if "." in base else ""
    return found if EXTENSION.fullmatch(found) else ""


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None
