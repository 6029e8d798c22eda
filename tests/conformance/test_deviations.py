"""Requests that the original answers otherwise: each answer here is the one that docs/deviations.md names."""

import re
from pathlib import Path
from typing import Any

import pytest

from airy.model import ids
from tests.kit.builders import Chat, channel
from tests.kit.conformance import installation

PAGE = Path(__file__).parents[2] / "docs" / "deviations.md"
CHAT = Chat()
UNKNOWN = ids.derive("unknown")
KNOWN = {"conversation_id": CHAT.conversation_id}

ANSWERS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    # endpoint, body, status here, start of the line of docs/deviations.md
    ("messages.send", {"conversation_id": UNKNOWN, "message": {"text": "x"}}, 202, "An unknown conversation in"),
    ("messages.send", {**KNOWN, "message": None}, 400, "Spellings"),
    ("conversations.markRead", KNOWN, 204, "Spellings"),
    ("messages.resend", {}, 400, "Client mistakes are 400"),
    ("conversations.list", {"cursor": "no cursor"}, 400, "Client mistakes are 400"),
    ("conversations.list", {"filters": "unread_count:abc"}, 400, "Client mistakes are 400"),
    ("conversations.list", {"filters": ""}, 200, "Blank optional fields"),
    ("conversations.list", {"filters": "unread_count:[* TO 5]"}, 200, "Braces exclude"),
    (
        "conversations.list",
        {"filters": "created_at:[1690000000000 TO 1800000000000]"},
        200,
        "Braces exclude",
    ),
    ("conversations.list", {"filters": "display_name:grace~"}, 400, "Not supported, and rejected by name with 400"),
    ("conversations.list", {"filters": "no_such_field:1"}, 400, "Unknown fields"),
    ("conversations.mark-read", {"conversation_id": UNKNOWN}, 404, "`conversations.mark-read`"),
    ("metadata.upsert", {"subject": "message", "id": UNKNOWN, "data": {"a": 1}}, 404, "`metadata.upsert`"),
    ("metadata.upsert", {"subject": "conversation", "id": CHAT.conversation_id, "data": [1]}, 400, "`metadata.upsert`"),
    ("metadata.upsert", {"subject": "conversation", "id": "text", "data": {}}, 400, "`metadata.upsert` accepts UUIDs"),
    ("messages.suggest-replies", {"message_id": CHAT.inbound_id("hello")}, 400, "`messages.suggest-replies`"),
    ("conversations.tag", {**KNOWN, "tag_id": UNKNOWN}, 204, "`conversations.tag`"),
    ("contacts.merge", {"source_id": UNKNOWN, "destination_id": UNKNOWN}, 400, "A merge of a contact with itself"),
    ("channels.chatplugin.disconnect", {"channel_id": CHAT.channel_id}, 204, "`channels.….disconnect`"),
    ("channels.chatplugin.disconnect", {"channel_id": CHAT.channel_id}, 204, "`channels.….disconnect`"),
    ("messages.send", {**KNOWN, "message": {"text": "x"}}, 403, "403 for a disconnected or unknown channel"),
)


def lines_of_the_page() -> list[str]:
    lines = [line.replace("**", "") for line in PAGE.read_text().splitlines()]
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_answers_that_differ_from_the_original_are_documented() -> None:
    lines, wrong = lines_of_the_page(), []
    async with installation() as airy:
        await airy.api.append(channel(), CHAT.received("hello"))
        for path, body, status, line in ANSWERS:
            answer = await airy.post(path, body)
            if answer.status != status:
                wrong.append(f"{path} {body}: {answer.status} {answer.body!r}")
            if not any(each.startswith(line) for each in lines):
                wrong.append(f"no line of the page starts with {line!r}")
            if answer.status >= 400:
                assert re.fullmatch(r"[a-z_]+", answer.document["code"])
    assert wrong == []
