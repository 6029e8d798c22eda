"""Dead letters: listed by state, shown with their bytes, replayed and discarded."""

from base64 import b64encode

import pytest

from airy.tui.console.dead_letters.rows import dump
from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.operations.letter("d-1", "not JSON: line 1", '{"object": "page"}')
    instance.operations.letter("d-2", "unknown version 9", b64encode(b"\x00\xffAiry").decode(), encoding="base64")
    return instance


async def test_each_letter_is_listed_with_reason_topic_key_and_attempts(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters") as shown:
        line = shown.line("unknown version 9")
        assert "source.facebook.events" in line
        assert "page-1" in line
        assert " 3 " in line


async def test_enter_shows_the_body_as_json_and_bytes_as_a_dump(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters") as shown:
        await shown.press("enter")
        assert '"object": "page"' in shown.text
        await shown.press("c", "escape")
        assert "/dead-letters.info" in shown.app.clipboard
        await shown.press("down", "enter")
        assert "00 ff 41 69 72 79" in shown.text
        assert "..Airy" in shown.text


async def test_a_replay_is_confirmed_and_moves_the_letter_to_the_replayed_ones(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters", writes=True) as shown:
        await shown.press("p")
        assert "Append the record of source.facebook.events with the key page-1 to its topic again?" in shown.text
        await shown.press("n")
        assert instance.operations.written == []
        await shown.press("p", "y")
        await shown.settle(0.5)
        assert instance.operations.written == [("/dead-letters.replay", {"ids": ["d-1"]})]
        assert "not JSON" not in shown.text
        await shown.press("s")
        assert "↻ replayed" in shown.line("not JSON")


async def test_a_letter_that_was_resolved_elsewhere_is_said(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters", writes=True) as shown:
        instance.operations.letters["d-1"]["state"] = "replayed"
        await shown.press("d")
        await shown.press("x", "enter")
        await shown.settle(0.5)
        assert "nothing changed: the dead letter" in shown.text
        assert "is already replayed" in shown.text


async def test_a_discard_asks_for_a_reason_which_is_listed_with_the_letter(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters", writes=True) as shown:
        await shown.press("d")
        assert "Why is the record of source.facebook.events with the key page-1" in shown.text
        await shown.press("enter")
        assert "Enter discards it" in shown.text
        assert instance.operations.written == []
        await shown.press(*"spam", "enter")
        await shown.settle(0.5)
        assert instance.operations.written == [("/dead-letters.discard", {"ids": ["d-1"], "reason": "spam"})]
        await shown.press("s", "s")
        assert "spam, by op" in shown.line("✗ discarded")


async def test_a_filter_takes_words_of_reason_topic_and_key(instance: FakeInstance) -> None:
    async with console(instance, view="dead-letters") as shown:
        await shown.press("slash", *"version", "enter")
        assert "not JSON" not in shown.text
        assert "unknown version 9" in shown.text
        assert "1 of 2" in shown.text


@pytest.mark.parametrize("key", ["p", "d"])
async def test_a_read_only_console_resolves_nothing(instance: FakeInstance, key: str) -> None:
    async with console(instance, view="dead-letters") as shown:
        await shown.press(key)
        assert "start it with --write" in shown.text
        assert instance.operations.written == []


async def test_a_dump_is_bounded_and_says_how_much_is_left_out() -> None:
    lines = dump(b"x" * 20_000)
    assert lines[1].startswith("000008  78 78")
    assert lines[-1] == "3,616 more bytes"
