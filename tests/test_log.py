"""Log lines: their format, and the masking of secrets."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from airy import log, trace
from airy.log_ring import LogRing
from airy.secret import MASK, Secret

KNOWN = 'hunter2-"quoted"-ü'


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restores the process-wide logging configuration after each test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(**options: object) -> io.StringIO:
    stream = io.StringIO()
    log.configure(stream=stream, secrets=[KNOWN], **options)  # type: ignore[arg-type]
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_outside_a_terminal_every_line_is_json_with_time_and_level() -> None:
    stream = configured()

    structlog.get_logger().info("system.started", port=8080)
    logging.getLogger("some.library").warning("from %s", "a library")

    first, second = lines(stream)
    assert list(first) == ["timestamp", "level", "event", "port"]
    assert (first["event"], first["level"], first["port"]) == ("system.started", "info", 8080)
    assert (second["event"], second["logger"]) == ("from a library", "some.library")


def test_lines_below_the_level_are_not_written() -> None:
    stream = configured(level="warning")

    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("format_", ["json", "console"])
def test_fields_named_like_secrets_are_masked_at_any_depth(format_: str) -> None:
    stream = configured(format=format_)

    structlog.get_logger().info(
        "x",
        page_token="t0p",
        headers={"Authorization": "t0p", "cookies": ["t0p"]},
        rows=[{"signature_key": "t0p"}],
        secret=Secret("t0p"),
        apiKey="t0p",
        password=b"t0p",
    )

    assert "t0p" not in stream.getvalue()
    assert stream.getvalue().count(MASK) == 7


@pytest.mark.parametrize("format_", ["json", "console"])
def test_known_secrets_are_masked_wherever_they_turn_up(format_: str) -> None:
    """In text, in reprs, in tracebacks, in messages of libraries; also escaped."""
    stream = configured(format=format_)
    logger = structlog.get_logger()

    careless = f"connecting with {KNOWN}"
    logger.info(careless, url=f"https://x/?t={KNOWN}", odd=[KNOWN], more={KNOWN: 1})
    try:
        int(KNOWN)
    except ValueError:
        logger.exception("failed")
    logging.getLogger("library").error("%r", {"given": KNOWN})

    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count(MASK) >= 6
    assert "ValueError" in text


def test_short_values_are_not_masked() -> None:
    """Masking `true` or `8080` everywhere would make a log unreadable."""
    assert log.masker(["true"])("true") == "true"
    assert log.masker([])("anything") == "anything"


def test_a_secret_inside_another_is_masked_with_it() -> None:
    assert log.masker(["abcdef", "abcdefghij"])("x abcdefghij y abcdef") == f"x {MASK} y {MASK}"


def test_long_texts_and_deep_fields_are_cut() -> None:
    stream = configured()
    deep: dict[str, object] = {}
    deep["again"] = deep

    structlog.get_logger().info("x", body="a" * 100_000, deep=deep)

    assert len(stream.getvalue()) < 2 * log.TEXT_CHARS_MAX + 1_000


def test_a_file_gets_json_and_is_kept_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES_MAX", 10_000)
    path = tmp_path / "log" / "airy.jsonl"
    log.configure(format="console", file=path)

    for number in range(400):
        structlog.get_logger().info("x", number=number, filler="y" * 100)

    kept = sorted(path.parent.iterdir())
    assert len(kept) == log.FILES_MAX
    assert sum(file.stat().st_size for file in kept) <= log.FILES_MAX * 10_000
    assert msgspec.json.decode(path.read_text().splitlines()[-1])["number"] == 399
    logging.getLogger().handlers[0].close()


def test_values_of_unknown_types_are_logged_by_repr() -> None:
    stream = configured()

    structlog.get_logger().info("x", what=object)

    assert lines(stream)[0]["what"] == "<class 'object'>"


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format_: str) -> None:
    """An unregistered secret in a local variable must not appear in a traceback."""
    stream = configured(format=format_)

    def fails(unlucky: str) -> None:
        assert len(unlucky) / 0

    try:
        fails("t0p-" + "secret")
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")

    assert "ZeroDivisionError" in stream.getvalue()
    assert "t0p-secret" not in stream.getvalue()


def test_a_line_names_the_trace_it_belongs_to_and_no_empty_one() -> None:
    stream = configured()
    begun = trace.new_trace("a request")

    with trace.attach(begun.header), structlog.contextvars.bound_contextvars(message_id="m", conversation_id="c"):
        structlog.get_logger().info("send.ended", attempt=1)
        structlog.get_logger().info("delivery.failed", trace_id="of another")
    structlog.get_logger().info("delivery.failed", trace_id="")

    inside, told, outside = lines(stream)
    assert (inside["trace_id"], inside["message_id"], inside["conversation_id"]) == (begun.trace_id, "m", "c")
    assert told["trace_id"] == "of another"
    assert outside.keys() == {"timestamp", "level", "event"}


@pytest.mark.parametrize("format_", ["json", "console"])
def test_the_ring_has_the_same_lines_as_json_with_the_same_masks(format_: str) -> None:
    ring = LogRing(epoch="e")
    stream = configured(format=format_, ring=ring)

    error = ValueError(f"unexpected {KNOWN}")
    structlog.get_logger().error("request.failed", exc_info=error, password="secret-word", port=8080)
    logging.getLogger("some.library").warning("from a library")

    first, second = (msgspec.json.decode(line) for line in ring.after(None).lines)
    assert (first["event"], first["port"], first["password"]) == ("request.failed", 8080, MASK)
    assert (second["event"], second["logger"]) == ("from a library", "some.library")
    kept = b"".join(ring.after(None).lines).decode()
    assert [secret for secret in ("hunter2", "secret-word") if secret in kept + stream.getvalue()] == []
    assert stream.getvalue().count("from a library") == 1
