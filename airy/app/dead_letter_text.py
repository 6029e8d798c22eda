"""Formats the output of `airy dlq …`. Pure. Content of dead letters is shown with control characters escaped."""

from collections.abc import Mapping, Sequence
from typing import Any

from airy.app.topic_text import EMPTY, aligned

Document = Mapping[str, Any]

REASON_CHARS_MAX = 60
KEY_CHARS_MAX = 40
FIELDS = (
    "id",
    "state",
    "reason",
    "attempts",
    "first_seen_at",
    "dead_lettered_at",
    "resolved_at",
    "resolved_by",
    "resolution_reason",
    "key",
    "trace_id",
)
HEADINGS = ("ID", "STATE", "ATTEMPTS", "FIRST SEEN", "BYTES", "KEY", "REASON")


def list_lines(letters: Sequence[Document], *, complete: bool) -> list[str]:
    """A table, newest first."""
    if not letters:
        return ["no dead letters"]
    rows = [
        (
            printable(letter["id"]),
            letter["state"],
            str(letter["attempts"]),
            letter["first_seen_at"],
            str(letter["size_bytes"]),
            _short(letter["key"], KEY_CHARS_MAX) or EMPTY,
            _short(letter["reason"], REASON_CHARS_MAX),
        )
        for letter in letters
    ]
    older = [] if complete else ["older dead letters exist that are not shown"]
    return [*aligned([HEADINGS, *rows]), *older]


def detail_lines(letter: Document) -> list[str]:
    """Every field, the headers and the body."""
    fields = [(name, EMPTY if letter.get(name) in (None, "") else printable(str(letter[name]))) for name in FIELDS]
    headers = [(printable(header["name"]), printable(header["value"])) for header in letter["headers"]]
    body = printable(letter["body"], lines=True) or EMPTY
    encoding = " (base64)" if letter["body_encoding"] == "base64" else ""
    return [*aligned(fields), "", "headers:", *(f"  {line}" for line in aligned(headers)), "", f"body{encoding}:", body]


def outcome_lines(outcomes: Sequence[Document]) -> list[str]:
    return aligned([(outcome["result"].replace("_", " "), printable(outcome["id"])) for outcome in outcomes])


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with every character escaped that is not printable: no terminal sequence of a dead letter takes effect.

    `lines`: line breaks and tabs are kept.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        character
        if character.isprintable() or character in kept
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )


def _short(text: str, chars_max: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= chars_max else f"{shown[: chars_max - 1]}…"
