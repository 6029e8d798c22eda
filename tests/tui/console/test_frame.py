"""What every view has: keys for the others, help made from the bindings, the palette, themes, a status line."""

import pytest

from airy.tui.console.navigation import VIEWS
from airy.tui.console.theme_names import NAMES
from airy.tui.console.themes import THEMES
from tests.kit.console import console
from tests.kit.event_loops import asyncio_backend
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])


@pytest.fixture
def instance() -> FakeInstance:
    instance = FakeInstance()
    instance.fleet = {"data": [], "components": {}}
    instance.operations.trees = [{"instance": "node-a:8080"}]
    return instance


async def test_each_view_opens_by_its_key(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        for entry in reversed(VIEWS):
            await shown.press(entry.key)
            assert shown.shown_view == entry.name


async def test_help_lists_the_keys_of_the_view_and_escape_closes_it(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        await shown.press("question_mark")
        assert "Keys: Conversations" in shown.text
        assert shown.line("open or close").strip(" │").startswith("o ")
        assert "Focus Next" not in shown.text
        await shown.press("escape")
        assert "Keys: Conversations" not in shown.text


async def test_the_palette_opens_views_and_changes_the_theme(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        await shown.press("colon", *"open tail")
        await shown.settle(1.0)
        await shown.press("enter")
        await shown.settle(1.0)
        assert shown.shown_view == "tail"
        await shown.press("colon", *"theme contrast")
        await shown.settle(1.0)
        await shown.press("enter")
        await shown.settle(1.0)
        assert shown.app.theme == "airy-contrast"


THINGS = {
    "overview": "actor",
    "conversations": "conversation",
    "webhooks": "webhook",
    "dead-letters": "dead letter",
    "channels": "channel",
    "topics": "topic",
    "config": "section",
}


@pytest.mark.parametrize("name", THINGS)
async def test_what_could_not_be_read_is_not_called_empty(name: str) -> None:
    async with console(FakeInstance(token="another"), view=name) as shown:
        await shown.settle(1.0)
        assert "403: forbidden" in shown.text.splitlines()[-1]
        assert "not read yet" in shown.text
        assert not any(f"no {what}" in shown.text for what in THINGS.values())


async def test_keys_that_arrive_together_act_in_their_order(instance: FakeInstance) -> None:
    instance.conversation("c-ada", "Ada Lovelace")
    instance.message("c-ada", "m1", {"text": "Hello?"})
    async with console(instance, view="conversations", writes=True) as shown:
        await shown.press_at_once("slash", *"name:ada", "enter", "i", *"Hi3", "enter", "escape", "3")
        assert shown.shown_view == "tail"
        await shown.press_at_once("colon", *"webhooks", "enter", "question_mark")
        await shown.settle(1.0)
        assert "Keys: Webhooks" in shown.text
        await shown.press("escape", "2")
        assert "filter: name:ada" in shown.text
        assert "Hi3" in shown.line("← Hi3")


@pytest.mark.parametrize("theme", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
async def test_every_view_without_data_fits_a_small_terminal_in_every_theme(instance: FakeInstance, theme: str) -> None:
    async with console(instance, theme=theme, size=(80, 24)) as shown:
        for entry in VIEWS:
            await shown.press(entry.key)
            lines = shown.text.splitlines()
            assert len(lines) == 24
            assert max(map(len, lines)) <= 80
            assert "live" in lines[-1]


async def test_r_reads_what_no_event_told(instance: FakeInstance) -> None:
    async with console(instance, view="conversations") as shown:
        instance.conversation("c-ada", "Ada Lovelace")
        assert "Ada Lovelace" not in shown.text
        await shown.press("r")
        assert "Ada Lovelace" in shown.text


async def test_the_mouse_opens_views_and_chooses_rows(instance: FakeInstance) -> None:
    for name in ("Ada", "Bob"):
        instance.conversation(f"c-{name}", name)
        instance.message(f"c-{name}", f"m-{name}", {"text": f"{name} says hello"})
    async with console(instance) as shown:
        await shown.click("2 Conversations")
        assert shown.shown_view == "conversations"
        for name in ("Ada", "Bob"):
            await shown.click(f"{name} ")
            assert f"→ {name} says hello" in shown.text


async def test_q_leaves(instance: FakeInstance) -> None:
    async with console(instance) as shown:
        await shown.press("q")
        assert shown.app.return_code == 0


@pytest.mark.parametrize("theme", NAMES)
async def test_the_tab_of_the_current_view_has_the_colours_of_the_theme(theme: str, instance: FakeInstance) -> None:
    async with console(instance, view="tail", theme=theme) as shown:
        strip = shown.app.screen._compositor.render_strips()[0]
        colours = next(segment.style for segment in strip if "3 Tail" in segment.text)
        known = next(each for each in THEMES if each.name == f"airy-{theme}")
        assert colours is not None and colours.color is not None and colours.bgcolor is not None
        assert colours.color.get_truecolor().hex == str(known.background).lower()
        assert colours.bgcolor.get_truecolor().hex == known.primary.lower()
