"""Progress off a terminal: a line now and then, with rate and estimate; on a terminal a bar."""

import io
import sys

import anyio
import pytest

from airy.app.progress import LINE_S, line, report_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_off_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with report_progress("exporting", 1_000) as on_progress:
        for _ in range(6):
            await anyio.sleep(LINE_S / 3)
            on_progress("topic", 50)

    assert capsys.readouterr().err.splitlines() == [
        "exporting: 150 of 1,000 records (15 %), 15/s, 57 s left, now topic",
        "exporting: 300 of 1,000 records (30 %), 15/s, 47 s left, now topic",
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert line("folding", 10, None, "records", 2.0, "") == "folding: 10 records, 5/s"
    assert line("folding", 0, 0, "records", 2.0, "") == "folding: 0 of 0 records, 0/s"


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with report_progress("verifying", 10) as on_progress:
        on_progress("topic", 5)

    shown = terminal.getvalue()
    assert "verifying" in shown
    assert "5 records" in shown
    assert "50%" in shown
