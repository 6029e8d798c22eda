"""The ring of log lines: bounded in lines and bytes, read by position, across the runs of a process."""

from concurrent.futures import ThreadPoolExecutor

import msgspec

from airy.log_ring import LINE_BYTES_MAX, LogPosition, LogRing


def ring(**limits: int) -> LogRing:
    return LogRing(epoch="e1", **limits)


def test_lines_are_read_behind_a_position() -> None:
    lines = ring()
    for number in range(3):
        lines.append(b"%d" % number)
    read = lines.after(None)
    assert (read.lines, read.first, read.end, read.lost) == ([b"0", b"1", b"2"], 0, LogPosition("e1", 3), 0)
    lines.append(b"3")
    assert lines.after(read.end).lines == [b"3"]
    assert lines.after(LogPosition("e1", 99)).lines == []


def test_the_oldest_lines_beyond_the_limits_are_dropped_and_counted_for_a_reader() -> None:
    few = ring(lines_max=3)
    small = ring(bytes_max=30)
    for number in range(10):
        few.append(b"line %d" % number)
        small.append(b"x" * 10)
    read = few.after(LogPosition("e1", 2))
    assert (read.lines, read.lost) == ([b"line 7", b"line 8", b"line 9"], 5)
    assert few.after(None).lost == 0
    assert (len(small.after(None).lines), small.bytes_held) == (3, 30)


def test_a_position_of_another_run_reads_everything_of_this_one() -> None:
    lines = ring()
    lines.append(b"started")
    assert lines.after(LogPosition("another", 500)).lines == [b"started"]


def test_a_long_line_keeps_its_most_important_fields() -> None:
    lines = ring()
    long = {"timestamp": "t", "level": "error", "event": "request.failed", "exception": "x" * LINE_BYTES_MAX}
    lines.append(msgspec.json.encode(long))
    (kept,) = lines.after(None).lines
    assert msgspec.json.decode(kept) == {
        "timestamp": "t",
        "level": "error",
        "event": "request.failed",
        "shortened": True,
    }


def test_threads_may_append_while_others_read() -> None:
    lines = ring(lines_max=100)

    def append(name: int) -> None:
        for _ in range(500):
            lines.append(b"%d" % name)
            assert len(lines.after(None).lines) <= 100

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    assert lines.after(None).end.number == 2_000
