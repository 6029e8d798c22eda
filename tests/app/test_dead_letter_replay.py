"""A poison webhook delays no other, is kept, and becomes its message when it is replayed after the fix (G11)."""

from collections.abc import Mapping

import anyio
import pytest

from airy.bus.record import Record
from airy.model.entity import Channel
from airy.sources.api import Routed
from tests.kit.in_process import InProcessAiry


async def texts(here: InProcessAiry) -> list[str]:
    conversations = (await here.asked("/conversations.list", {}))["data"]
    found = []
    for conversation in conversations:
        listed = await here.asked("/messages.list", {"conversation_id": conversation["id"]})
        found += [message["content"]["message"]["text"] for message in listed["data"]]
    return sorted(found)


async def test_a_poison_webhook_becomes_its_message_once_it_is_replayed_after_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X-4."""
    here = InProcessAiry()
    source = here.services.sources["facebook"]
    route = source.route

    def buggy(record: Record, channels: Mapping[str, Channel]) -> Routed:
        if b"poison" in (record.value or b""):
            raise ZeroDivisionError("a bug")
        return route(record, channels)

    async with here.open():
        await here.connect()
        monkeypatch.setattr(source, "route", buggy)
        for text in ("before", "poison", "after"):
            assert (await here.says(text)).status == 200
        await _until_listed(here, ["after", "before"])
        [letter] = (await here.asked("/dead-letters.list", {}))["data"]
        assert (letter["reason"], letter["attempts"]) == ("ZeroDivisionError: a bug", 3)
        assert letter["trace_id"]

        # replayed before the fix, it is dead again, under a new id that continues the count
        assert (await here.asked("/dead-letters.replay", {"ids": [letter["id"]]}))["data"][0]["result"] == "replayed"
        open_letters = await _open_letters(here)
        assert open_letters[0]["id"] != letter["id"]
        assert (open_letters[0]["attempts"], open_letters[0]["first_seen_at"]) == (6, letter["first_seen_at"])

        monkeypatch.setattr(source, "route", route)
        body = {"ids": [open_letters[0]["id"]]}
        assert (await here.asked("/dead-letters.replay", body))["data"][0]["result"] == "replayed"
        await _until_listed(here, ["after", "before", "poison"])
        assert (await here.asked("/dead-letters.replay", body))["data"][0]["result"] == "already_replayed"
        assert (await here.asked("/dead-letters.list", {}))["data"] == []
        assert await texts(here) == ["after", "before", "poison"]


async def _until_listed(here: InProcessAiry, expected: list[str]) -> None:
    with anyio.fail_after(60):
        while await texts(here) != expected:
            await anyio.sleep(0.1)


async def _open_letters(here: InProcessAiry) -> list[dict[str, object]]:
    with anyio.fail_after(60):
        while not (found := (await here.asked("/dead-letters.list", {}))["data"]):
            await anyio.sleep(0.1)
    return list(found)
