"""`airy log export|import|digest|check`: files, answers and exit codes around the moving itself."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import anyio.to_thread
import msgspec

from airy.app.moving.exporting import Moved, Write, export_log
from airy.app.moving.folding import Fold, fold_archive, fold_log
from airy.app.moving.importing import Contents, import_log, look_through
from airy.app.moving.log import check_queue, clear_caches, opened
from airy.app.moving.watch import watching
from airy.config import Config
from airy.errors import Refused, Unavailable

OK: Final = 0
DIFFERENT: Final = 70
COPY_BYTES: Final = 1_048_576
STANDARD = "-"


async def export(config: Config, output: str, *, as_json: bool) -> int:
    """The configured log to a file, or to stdout."""
    async with opened(config, reading=True) as bus:
        with watching("exporting") as watch:
            if output == STANDARD:
                moved = await export_log(bus, _writer(sys.stdout.buffer), watch=watch)
                await anyio.to_thread.run_sync(sys.stdout.buffer.flush)
            else:
                with _new_file(Path(output)) as file:
                    moved = await export_log(bus, _writer(file), watch=watch)
    answer = sys.stderr if output == STANDARD else sys.stdout
    _tell(moved, f"exported {_told(moved)}", as_json=as_json, file=answer)
    return OK


async def load(config: Config, given: str, *, resume: bool, as_json: bool) -> int:
    """A file, or stdin, into the configured log."""
    with _archive(given) as file:
        contents = await _looked_through(file)
        await check_queue(config)
        async with opened(config) as bus:
            with watching("importing", contents.moved.records) as watch:
                await import_log(bus, file, contents, resume=resume, watch=watch)
            done = clear_caches(config)
    _tell(contents.moved, "\n".join([f"imported {_told(contents.moved)}", *done]), as_json=as_json)
    return OK


async def digest(config: Config, *, as_json: bool) -> int:
    """The fold of the configured log."""
    async with opened(config, reading=True) as bus:
        with watching("folding") as watch:
            fold = await fold_log(bus, watch=watch)
    _tell(fold, f"{fold.digest}\n{_facts(fold)}", as_json=as_json)
    return OK


async def check(config: Config, given: str, *, as_json: bool) -> int:
    """0: the configured log folds to what the archive folds to. 70: it does not."""
    with _archive(given) as file:
        contents = await _looked_through(file)
        with watching("folding the archive", contents.moved.records) as watch:
            expected = await fold_archive(file, watch=watch)
    async with opened(config, reading=True) as bus:
        with watching("folding the log", contents.moved.records) as watch:
            found = await fold_log(bus, watch=watch)
    same = found == expected
    words = (
        f"the log is what the archive says: {_facts(found)}; digest {found.digest}"
        if same
        else f"the log differs from the archive.\nthe log: {_facts(found)}; digest {found.digest}\n"
        f"the archive: {_facts(expected)}; digest {expected.digest}"
    )
    _tell({"same": same, "log": found, "archive": expected}, words, as_json=as_json)
    return OK if same else DIFFERENT


# --- files


async def _looked_through(file: BinaryIO) -> Contents:
    with watching("checking the archive") as watch:
        contents = await look_through(file, watch=watch)
    file.seek(0)
    return contents


def _writer(file: BinaryIO) -> Write:
    async def write(data: bytes) -> None:
        """In a thread: a pipe may be slow, and the log's clients have to be heard meanwhile."""
        try:
            await anyio.to_thread.run_sync(file.write, data)
        except OSError as error:
            raise Unavailable(f"the archive cannot be written: {error.strerror}") from error

    return write


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """It has its name once it is complete, and on the disk. It holds what people wrote: for its owner alone."""
    if path.exists():
        raise Refused(f"{path} exists: name another file, or remove it")
    draft = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"{draft} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _archive(given: str) -> Iterator[BinaryIO]:
    """A file that can be read twice."""
    if given != STANDARD:
        try:
            descriptor = os.open(given, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"{given} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="airy-log-") as copy:
        for data in iter(partial(sys.stdin.buffer.read, COPY_BYTES), b""):
            copy.write(data)
        copy.seek(0)
        yield copy


# --- words


def _told(moved: Moved) -> str:
    return f"{moved.records} records and {moved.places} positions of groups; sha256 {moved.sha256}"


def _facts(fold: Fold) -> str:
    bad = f", {fold.unreadable} unreadable" if fold.unreadable else ""
    return f"{fold.conversations} conversations, {fold.messages} messages, {fold.changes} changes{bad}"


def _tell(result: object, words: str, *, as_json: bool, file: TextIO | None = None) -> None:
    (file or sys.stdout).write((msgspec.json.encode(result).decode() if as_json else words) + "\n")
