"""`airy tail`: the events of the script, its reconnects, and where it continues."""

import io
from pathlib import Path

import anyio
import msgspec
import pytest

from airy.cli.event_tail import TailRequest, follow
from airy.cli.tail import KINDS
from airy.cli.views.events import EVENTS, EventRow
from airy.cli.writers import NdjsonWriter
from airy.errors import Refused, Unavailable
from airy.model.change import ChangeKind
from airy.model.change_builder import body
from airy.tui.console import websocket_source
from airy.tui.console.event_feed import EventFeed
from tests.kit.command_line import CommandLine, matches_golden
from tests.kit.event_script import EventScript

TAG = {"id": "t-1", "name": "urgent", "color": "tag-red"}


def test_the_kinds_of_the_option_are_those_of_the_model() -> None:
    assert set(KINDS) == set(ChangeKind)


def test_the_schema_of_an_event_has_the_fields_of_its_body() -> None:
    keys = msgspec.json.decode(body("e", ChangeKind.TAG_UPDATED, 1, 1, TAG)).keys()

    assert {*keys, "position", "resume"} == set(EventRow.__struct_fields__)


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command gets three events with `--since 0`."""
    monkeypatch.setattr(websocket_source, "WebsocketSource", lambda url, token, scope: scripted())


def scripted(*, down: bool = False, refused: str = "") -> EventScript:
    script = EventScript()
    script.down, script.refused = down, refused
    script.append("tag.updated", TAG)
    channel = {"id": "c-1", "source": "telegram", "connected": True, "metadata": {"name": "Bot"}}
    script.append("channel.updated", channel)
    script.append("tag.updated", {**TAG, "id": "t-2", "name": "lat\x1b[31mer"})
    return script


def test_events_are_lines(airy: CommandLine) -> None:
    assert matches_golden("tail", airy("tail", "--since", "0", "--limit", "3").out)
    found = airy.json("events", "tail", "--since", "0", "--limit", "1", "--filter", "tag -urgent")
    assert [(each["payload"]["id"], each["resume"]) for each in found] == [("t-2", "3")]


def test_a_tail_continues_at_the_position_in_its_file(airy: CommandLine, tmp_path: Path) -> None:
    position = tmp_path / "position"
    position.write_text("0\n")

    first = airy("tail", "--resume-file", str(position), "--limit", "2", "-o", "ndjson")
    then = airy("tail", "--resume-file", str(position), "--limit", "1", "-o", "ndjson")

    assert len(first.out.splitlines()) == 2
    assert '"t-2"' in then.out
    assert position.read_text() == "3\n"


def test_a_refused_token_and_an_instance_that_is_down_end_it(
    airy: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_source, "WebsocketSource", lambda url, token, scope: scripted(down=True))
    assert airy("tail").code == 75
    monkeypatch.setattr(websocket_source, "WebsocketSource", lambda url, token, scope: scripted(refused="no"))
    assert airy("tail").code == 78
    assert airy("tail", "--since", "1", "--resume-file", "x").code == 64


async def test_a_cut_connection_is_made_again_without_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    script, out = EventScript(), io.StringIO()
    saved: list[str] = []
    feed = EventFeed(script)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, feed, NdjsonWriter(out), TailRequest(events_max=3, save=saved.append))
        await anyio.sleep(1)
        script.append("tag.updated", TAG)
        await anyio.sleep(1)
        script.down = True
        script.cut()
        await anyio.sleep(1)
        script.append("tag.updated", TAG)
        script.down = False
        await anyio.sleep(10)
        script.forgotten = 3
        script.append("tag.updated", TAG)

    assert len(out.getvalue().splitlines()) == 3
    assert saved == ["1", "2", "3"]
    assert "connecting again" in (said := capsys.readouterr().err)
    assert said.splitlines()[-1] == "connected again"
    assert EVENTS.what == "events"


@pytest.mark.parametrize("refusal", ["", "no"])
async def test_only_the_first_connection_has_to_work(refusal: str) -> None:
    script = EventScript()
    script.down, script.refused = True, refusal

    with pytest.RaisesGroup(Refused if refusal else Unavailable):
        await follow(EventFeed(script), NdjsonWriter(io.StringIO()), TailRequest())
