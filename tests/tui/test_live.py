"""The live view: redraws only changes, polls less when idle, and appends plain lines outside a terminal."""

import io
import json
import shlex

import anyio

from airy.api_client import ApiClient
from airy.secret import Secret
from airy.tui import live
from airy.tui.live import IDLE_S, SHOWN_STATES_MAX, Plain, curl_examples, follow
from airy.tui.poll import Poller
from airy.tui.view_model import ConversationRow, MessageRow, ViewModel, clock
from tests.kit.fake_instance import FakeInstance

URL = "http://127.0.0.1:8080"


class View:
    def __init__(self) -> None:
        self.pictures: list[ViewModel] = []
        self.told: list[str] = []

    def show(self, model: ViewModel) -> None:
        self.pictures.append(model)

    def write_line(self, line: str) -> None:
        self.told.append(line)


async def watched(instance: FakeInstance, surface: live.Surface, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await follow(
            Poller(ApiClient(instance, URL, None)), surface, lambda conversation: curl_examples(URL, None, conversation)
        )


async def test_only_changes_are_shown_and_an_idle_instance_is_polled_less_often() -> None:
    instance, surface = FakeInstance(), View()
    instance.conversation("a", "Ada")

    await watched(instance, surface, 60)

    assert len(surface.pictures) == 1
    assert 60 / IDLE_S <= instance.asked["/conversations.list"] <= 60 / IDLE_S + 8


async def test_example_commands_are_printed_once_with_the_first_conversation() -> None:
    instance, surface = FakeInstance(), View()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched, instance, surface, 20)
        await anyio.sleep(5)
        assert surface.told == []
        instance.conversation("first", "Ada")
        await anyio.sleep(5)
        instance.conversation("second", "Bob")

    assert len(surface.told) == 3
    assert all("second" not in line for line in surface.told)
    assert '"conversation_id": "first"' in surface.told[1]


async def test_a_pipe_gets_a_plain_line_per_message_and_state_change() -> None:
    instance, out = FakeInstance(), io.StringIO()
    instance.conversation("a", "Ada")
    surface = Plain(out)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched, instance, surface, 30)
        instance.message("a", "m1", {"message": {"text": "hello\x1b[31m"}})
        await anyio.sleep(5)
        instance.message("a", "m2", {"text": "hi"}, from_contact=False, state="pending")
        await anyio.sleep(5)
        instance.receipt("a", "m2", "delivered")
        await anyio.sleep(5)
        instance.down = True

    lines = [line for line in out.getvalue().splitlines() if line and not line.startswith(("#", "curl"))]
    assert lines[0] == "ready"
    assert [line[9:] for line in lines[1:4]] == [  # after the time of day
        "→ Ada: hello[31m",
        "← Ada: hi  … pending",
        "← Ada: hi  ✓✓ delivered",
    ]
    assert lines[4] == "not reachable: 127.0.0.1: connection refused"
    assert "\x1b" not in out.getvalue()


async def test_a_pipe_gets_a_line_per_failed_attempt() -> None:
    instance, out = FakeInstance(), io.StringIO()
    instance.conversation("a", "Ada")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched, instance, Plain(out), 30)
        for attempts in (1, 2):
            waits = {"attempts": attempts, "next_attempt_at": "1970-01-01T00:00:09.000Z"}
            metadata = {"error": f"busy {attempts}", "source": waits}
            instance.message("a", "m", {"text": "hi"}, from_contact=False, state="pending", metadata=metadata)
            await anyio.sleep(5)

    lines = [line for line in out.getvalue().splitlines() if "hi" in line and not line.startswith(("#", "curl"))]
    at = clock("1970-01-01T00:00:09.000Z")
    assert [line[9:] for line in lines] == [
        f"← Ada: hi  … pending, attempt 2 at {at}: busy 1",
        f"← Ada: hi  … pending, attempt 3 at {at}: busy 2",
    ]


def test_a_pipe_gets_each_state_once_and_the_memory_of_it_is_bounded() -> None:
    out = io.StringIO()
    surface = Plain(out)

    def shown(*ids: int) -> ViewModel:
        lines = tuple(MessageRow(str(each), inbound=True, text="x", state="", at="10:00:00") for each in ids)
        return ViewModel((ConversationRow("c", "Ada", "facebook", 0, "10:00:00", lines),))

    for number in range(SHOWN_STATES_MAX * 2):
        surface.show(shown(number))
    told = out.getvalue().count("→")
    surface.show(shown(SHOWN_STATES_MAX * 2 - 1, SHOWN_STATES_MAX * 2 - 2))

    assert told == SHOWN_STATES_MAX * 2 == out.getvalue().count("→")
    assert len(surface._shown_states) == SHOWN_STATES_MAX


def test_example_commands_are_whole_lines_with_the_token() -> None:
    listed = dict(curl_examples(URL, Secret("t0ken"), "c-1"))

    words = shlex.split(listed["send a reply"])
    assert words[:3] == ["curl", "-sS", f"{URL}/messages.send"]
    assert "Authorization: Bearer t0ken" in words
    assert json.loads(words[-1]) == {"conversation_id": "c-1", "message": {"text": "Hello from the terminal"}}
    assert list(listed) == ["list conversations", "list its messages", "send a reply"]
    assert not any("\n" in line for line in listed.values())
    assert "Authorization" not in "".join(dict(curl_examples(URL, None, "c")).values())
