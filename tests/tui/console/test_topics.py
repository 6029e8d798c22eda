"""Topics: the list with offsets and lag, and the records of one, page by page."""

from datetime import UTC, datetime

import pytest

from airy import topics
from airy.bus.topic import partition_of
from airy.tui.console.topics import rows
from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import NOW_MS, FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])

RAW = topics.source_events("facebook").name
AUDIT = topics.AUDIT.name
RECORDS = 250
TOAST_S = 6.0  # how long a notification covers what is below it


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    for number in range(RECORDS):
        at_ms = NOW_MS - (RECORDS - number) * 1_000
        instance.topics.record(AUDIT, 0, "ada", b'{"n":%d}' % number, at_ms)
    instance.topics.record(RAW, 3, "page-1", b'{"entry":[]}', NOW_MS - 90_000)
    instance.topics.record(RAW, partition_of(b"page-2", 16), "page-2", b"\xff\xfe", NOW_MS - 80_000)
    instance.topics.record(RAW, 3, "page-1", None, NOW_MS - 70_000)
    instance.topics.committed("sources.facebook.router", RAW, 1)
    return instance


async def test_topics_with_records_are_listed_with_their_lag_and_a_key_shows_all(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        assert f"2 of {len(topics.ALL)} topics, 1 behind" in shown.text
        line = shown.line(RAW).split()
        assert line[:2] == [RAW, "16"]
        assert line[-3:] == ["1", "1", "min"]
        assert "250" in shown.line(AUDIT)
        await shown.press("a")
        assert topics.TEMPLATES.name in shown.text
        assert f"{len(topics.ALL)} of {len(topics.ALL)}" in shown.text


async def test_the_topic_at_the_cursor_is_shown_with_groups_writers_and_readers(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        assert "1 behind, 1 min" in shown.line("sources.facebook.router")
        assert "sources-facebook" in shown.line("written by: ")
        assert "committed nothing" not in shown.text
        await shown.press("c")
        assert "/topics.list" in shown.app.clipboard
        await shown.press("down")
        assert "key: caller" in shown.text


async def test_the_partitions_of_a_topic_are_shown_with_the_lag_of_each_group(instance: FakeInstance) -> None:
    async with console(instance, view="topics", size=(80, 24)) as shown:
        await shown.press("p")
        assert shown.line("  0         0").split() == ["0", "0", "0", "no", "group", "-", "-", "-"]
        behind = shown.line("sources.fa").split()
        assert (behind[0], behind[2], behind[-3:]) == ("3", "2", ["1", "1", "min"])
        await shown.press("down", "down", "down", "enter")
        assert "partition 3" in shown.text
        assert "(tombstone)" in shown.text  # from the position of the group on
        assert '"entry"' not in shown.text
        await shown.press("escape", "p")
        assert "written by: " in shown.text


async def test_pages_are_turned_towards_older_and_newer_records(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("down", "enter")
        assert "partition 0, at 150 of 0 to 250, 100 shown" in shown.text
        assert '{"n":249}' in shown.text
        await shown.press("n")
        assert "this is the end: f follows it" in shown.text
        await shown.settle(TOAST_S)
        await shown.press("o")
        assert '{"n":149}' in shown.text
        assert "at 50 of 0 to 250" in shown.text
        await shown.press("o", "o")
        assert "there are no older records" in shown.text
        await shown.settle(TOAST_S)
        assert '{"n":49}' in shown.text
        await shown.press("n")
        assert '{"n":50}' in shown.text
        await shown.press("e")
        assert '{"n":249}' in shown.text
        await shown.press("b")
        assert '{"n":0}' in shown.text
        await shown.press("escape")
        assert "2 of" in shown.text


async def test_a_place_is_an_offset_or_a_time(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("down", "enter", "g", *"120", "enter")
        assert '{"n":120}' in shown.text
        assert '{"n":119}' not in shown.text
        at = datetime.fromtimestamp((NOW_MS - 50_000) / 1000, UTC).isoformat()
        await shown.press("g", *at, "enter")
        assert '{"n":200}' in shown.text
        assert '{"n":199}' not in shown.text
        await shown.press("g", *"soon", "enter")
        assert "neither an offset nor a time" in shown.text


async def test_an_offset_needs_a_partition_which_a_key_chooses(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("enter", "g", *"1", "enter")
        assert "an offset is of one partition: choose it with p" in shown.text
        await shown.press("p", *"3", "enter")
        assert "partition 3" in shown.text
        assert "page-2" not in shown.text
        await shown.press("g", *"2", "enter")
        assert "(tombstone)" in shown.text
        await shown.press("p", *"99", "enter")
        assert "has partitions 0 to 15, not 99" in shown.text
        await shown.press("p", "enter")
        assert "16 partitions" in shown.text


async def test_the_end_is_followed_and_only_then(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("down", "enter", "f")
        assert "follows, f stops" in shown.text
        instance.topics.record(AUDIT, 0, "ada", b'{"n":"new"}', NOW_MS)
        await shown.settle(2.2)
        assert '{"n":"new"}' in shown.text
        assert "101 shown" in shown.text
        await shown.press("f")
        instance.topics.record(AUDIT, 0, "ada", b'{"n":"later"}', NOW_MS)
        await shown.settle(2.2)
        assert "later" not in shown.text


async def test_a_filter_shows_the_records_of_one_key(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("enter", "slash", *"page-2", "enter")
        assert "page-2" in shown.line("//4=")
        assert "page-1" not in shown.text
        await shown.press("escape")
        assert "page-1" in shown.text


async def test_enter_shows_a_record_whole_and_how_to_read_it_again(instance: FakeInstance) -> None:
    async with console(instance, view="topics") as shown:
        await shown.press("down", "enter", "enter")
        assert '"n": 249' in shown.text
        assert '"offset": 249' in shown.text
        await shown.press("c", "escape", "c")
        assert '"offset": 249, "page_size": 1' in shown.app.clipboard


async def test_the_keys_of_the_records_are_in_the_help(instance: FakeInstance) -> None:
    async with console(instance, view="topics", size=(80, 50)) as shown:
        await shown.press("enter", "question_mark")
        for words in ("older records", "go to an offset or a time", "follow the end, and stop", "choose a partition"):
            assert words in shown.text


async def test_a_place_is_read_in_the_zone_of_the_terminal() -> None:
    now = datetime.fromisoformat("2026-11-30T15:00:20+02:00")
    assert rows.place("1204", now) == {"offset": 1204}
    assert rows.place("14:30", now) == {"time": "2026-11-30T14:30:00+02:00"}
    assert rows.place("-15m", now) == {"time": "2026-11-30T14:45:20+02:00"}
    assert rows.place("2026-11-29", now) == {"time": "2026-11-29T00:00:00+02:00"}
    for wrong in ("25:00", "soon", "-5"):
        with pytest.raises(rows.UnreadablePlace):
            rows.place(wrong, now)
