"""Formats a dead letter with its headers and its body, control characters escaped. Pure."""

from collections.abc import Mapping
from typing import Any

from airy.app.topic_text import EMPTY, aligned
from airy.cli.view import printable

Document = Mapping[str, Any]

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


def detail_lines(letter: Document) -> list[str]:
    """Every field, the headers and the body."""
    fields = [(name, EMPTY if letter.get(name) in (None, "") else printable(str(letter[name]))) for name in FIELDS]
    headers = [(printable(header["name"]), printable(header["value"])) for header in letter["headers"]]
    body = printable(letter["body"], lines=True) or EMPTY
    encoding = " (base64)" if letter["body_encoding"] == "base64" else ""
    return [*aligned(fields), "", "headers:", *(f"  {line}" for line in aligned(headers)), "", f"body{encoding}:", body]
