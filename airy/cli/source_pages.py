"""The tables about sources in docs/, made from the catalogue. Pure.

A generated table stands between `<!-- NAME -->` and `<!-- /NAME -->`; `make pages` writes it, and a test compares it.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from airy.sources.catalogue import SOURCES
from airy.sources.spec import Capabilities, Kind, MediaOrigin, ProfileOrigin, SourceSpec

PROFILE: dict[ProfileOrigin, str] = {"none": "none", "webhook": "in webhooks", "provider": "asked"}
MEDIA: dict[MediaOrigin, str] = {"none": "none", "url": "at an address", "provider": "behind a call with credentials"}


def overview() -> str:
    """All kinds of channels, a line each."""
    rows = [
        (
            f"[`{spec.name}`](sources/{spec.name}.md)",
            f"`{kind.name}`",
            kind.account,
            _codes(spec.webhooks),
            PROFILE[kind.capabilities.profile],
            _words(kind.capabilities.receipts),
            _words(_abilities(kind.capabilities)),
        )
        for spec in SOURCES
        for kind in spec.kinds
    ]
    return _table(("source", "kind of channel", "account", "webhook", "profile", "receipts", "more"), rows)


def forms() -> str:
    """The bodies of connect, a line for each kind."""
    rows = []
    for kind in (kind for spec in SOURCES for kind in spec.kinds):
        if kind.connect is None:
            continue
        fields = msgspec.structs.fields(kind.connect)
        ordered = sorted(fields, key=lambda field: not field.required)
        rows.append((f"`{kind.name}`", ", ".join(f"`{each.name}{'' if each.required else '?'}`" for each in ordered)))
    return _table(("kind", "body"), rows)


def supported(spec: SourceSpec) -> str:
    """What one source can do, a column for each kind."""
    rows = [(name, *(_cell(name, kind) for kind in spec.kinds)) for name in ROWS]
    return _table(("", *(f"`{kind.name}`" for kind in spec.kinds)), rows)


ROWS = (
    "account",
    "receives",
    "updates",
    "sends, as canonical content",
    "receipts",
    "profile",
    "media",
    "more",
    "messages per second",
    "conversations at once",
)


def _cell(name: str, kind: Kind) -> str:
    capable, limits = kind.capabilities, kind.limits
    burst = f" after {limits.conversation_burst} at once" if limits.conversation_burst > 1 else ""
    each = f", {limits.conversation_per_s:.2g} to one contact{burst}" if limits.conversation_per_s else ""
    return {
        "account": kind.account,
        "receives": _words(capable.receives),
        "updates": _words(capable.updates),
        "sends, as canonical content": _words(capable.sends),
        "receipts": _words(capable.receipts),
        "profile": PROFILE[capable.profile],
        "media": MEDIA[capable.media],
        "more": _words(_abilities(capable)),
        "messages per second": f"{limits.per_s:g}{each}",
        "conversations at once": str(limits.parallel_max),
    }[name]


def _abilities(capable: Capabilities) -> Iterable[str]:
    declared = {
        "echoes": capable.echoes,
        "mark read": capable.mark_read,
        "typing": capable.typing,
        "explore": capable.explore,
        "starts conversations": capable.starts,
    }
    return (name for name, has in declared.items() if has)


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(cell if cell == "---" else f" {cell} " for cell in line) + "|" for line in lines)


def filled(page: str, blocks: dict[str, str]) -> str:
    """`page` with what is between the markers of each block replaced. Raises `ValueError` for a block without them."""
    for name, text in blocks.items():
        page, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, text=text: match[1] + text + "\n" + match[2],  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"expected <!-- {name} --> and <!-- /{name} --> once")
    return page
